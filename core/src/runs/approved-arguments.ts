import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { ProblemError } from "../errors.ts";
import { argumentCheck, BadSchema } from "../toolkits/argument-check.ts";
import { callHash } from "../toolkits/call-hash.ts";
import type { Decision } from "./decisions.ts";

/**
 * What a decision on an approval may carry: `hash`, of the call that the person saw, and from staff `arguments`, in
 * place of those that the model chose. They are held to the tool's own schema, as the model's were.
 *
 * @returns the new arguments; null where they stay as they are
 * @throws ProblemError `conflict` for another hash, `forbidden` or `invalid_request` for arguments that may not be
 */
export function approvedArguments(
  ctx: Ctx,
  interrupt: Interrupt,
  decision: Decision,
  payload: unknown,
): Record<string, unknown> | null {
  if (interrupt.reason !== "approval" || typeof payload !== "object" || payload === null) return null;
  const { hash, arguments: changed } = payload as Record<string, unknown>;
  const { metadata = {} } = interrupt;
  if (hash !== undefined && hash !== metadata.hash) {
    throw new ProblemError(
      "conflict",
      "`payload.hash` is not that of the call which waits: what was looked at is another call. Read the run again, then decide.",
    );
  }
  if (changed === undefined) return null;
  if (ctx.actor.kind === "visitor") {
    throw new ProblemError("forbidden", "Only the site's staff may change a call before it is made.");
  }
  if (decision !== "approve") {
    throw new ProblemError("invalid_request", "`payload.arguments` goes with the decision approve only.");
  }
  if (typeof changed !== "object" || changed === null || Array.isArray(changed)) {
    throw new ProblemError("invalid_request", "`payload.arguments` must be one JSON object.");
  }
  const args: Record<string, unknown> = { ...changed };
  const problem = problemOf(args, metadata.parameters);
  if (problem !== null) throw new ProblemError("invalid_request", `\`payload.arguments\` do not fit: ${problem}`);
  return callHash(String(metadata.tool), args) === metadata.hash ? null : args;
}

function problemOf(args: Record<string, unknown>, parameters: unknown): string | null {
  if (typeof parameters !== "object" || parameters === null) return "this call was asked about without its schema.";
  try {
    return argumentCheck({ ...parameters })(args);
  } catch (error) {
    if (error instanceof BadSchema) return error.message;
    throw error;
  }
}

/** The arguments that differ, by name: for the audit log, which keeps no visitor's words. */
export function changedNames(before: unknown, after: Record<string, unknown>): string[] {
  const old: Record<string, unknown> = typeof before === "object" && before !== null ? { ...before } : {};
  const names = new Set([...Object.keys(old), ...Object.keys(after)]);
  return [...names].filter((name) => JSON.stringify(old[name]) !== JSON.stringify(after[name])).toSorted();
}
