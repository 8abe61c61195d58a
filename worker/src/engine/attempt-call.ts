import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf, healthOf } from "@agent-engine/core/toolkits/failure-table.ts";
import type { ToolAnswer, ToolConnection } from "@agent-engine/core/toolkits/toolkit.ts";
import type { BoundTool } from "./bound-tool.ts";
import { circuitFailure, NO_CIRCUIT, type Attempted } from "./circuit.ts";
import { connectAccount } from "./connect-account.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { withDeadline } from "./pause.ts";
import { heldFailure } from "./rate-limit.ts";
import { progressOf } from "./tool-progress.ts";

export type AttemptEnd =
  | { kind: "answer"; answer: ToolAnswer }
  | { kind: "failure"; failure: Failure }
  /** It was not even begun: its circuit is open, or its connection not to be had. */
  | { kind: "refused"; failure: Failure }
  /** Cancelled before it was begun. */
  | { kind: "not_begun" }
  | { kind: "cancelled" };

/**
 * One attempt, on record as begun before it is made, and cut at `deadline`. Rejects only with what an effect rejected
 * with.
 */
export async function attemptCall(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  { signal, deadline }: { signal: AbortSignal; deadline: number },
): Promise<AttemptEnd> {
  const { effects } = run;
  const connected = await connectAccount(run, tool, signal);
  if (connected.kind === "cancelled") return { kind: "not_begun" };
  if (connected.kind === "failed") return { kind: "refused", failure: connected.failure };
  const account = connected.connection?.id ?? null;
  const limit = tool.rateLimit?.heldBy(account, effects.now());
  if (limit && !isAskedAnyway(invocation)) {
    return { kind: "refused", failure: heldFailure(limit, effects.now()) };
  }
  const guarded = await (tool.circuit ?? NO_CIRCUIT).guard(async () => {
    await effects.beginInvocation(invocation);
    invocation.attempts++;
    const begunMs = effects.now();
    invocation.startedAt = begunMs;
    invocation.outcome = null;
    effects.assertLease();
    const end = await call(run, tool, invocation, connected.connection, { signal, deadline });
    if (end.kind === "failure") tool.rateLimit?.failed(account, end.failure, effects.now());
    if (end.kind === "answer") tool.rateLimit?.answered(account, begunMs);
    return attempted(end);
  });
  if (guarded.kind === "made") return guarded.end;
  return { kind: "refused", failure: circuitFailure("tool", guarded.circuit, effects.now()) };
}

/** A person may know more than the other side said. */
function isAskedAnyway({ decision, attempts }: ToolInvocation): boolean {
  return decision?.kind === "retry" && decision.attempts === attempts;
}

function attempted(end: AttemptEnd): Attempted<AttemptEnd> {
  if (end.kind === "failure") return { end, health: healthOf("tool", end.failure), failure: end.failure };
  return { end, health: end.kind === "answer" ? "healthy" : "unclear", failure: null };
}

/** Never rejects, and never waits longer than the deadline, whatever the tool does with its signal. */
async function call(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  connection: ToolConnection | null,
  { signal: callSignal, deadline }: { signal: AbortSignal; deadline: number },
): Promise<AttemptEnd> {
  const { idempotencyKey, arguments: args } = invocation;
  const leftMs = Math.max(0, deadline - run.effects.now());
  const progress = progressOf(run, tool, invocation);
  const end = await withDeadline(run.effects, leftMs, callSignal, (signal) =>
    tool.call({ idempotencyKey, arguments: args, connection, signal, deadline, onProgress: progress.say }),
  );
  progress.end();
  switch (end.kind) {
    case "done":
      return { kind: "answer", answer: end.value };
    case "failed":
      return { kind: "failure", failure: tool.classifyFailure(end.error) };
    case "late":
      return { kind: "failure", failure: lateFailure(tool.deadlineMs) };
    case "aborted":
      return { kind: "cancelled" };
  }
}

function lateFailure(deadlineMs: number): Failure {
  return failureOf("tool.timeout", `The tool did not answer within ${Math.round(deadlineMs / 1000)} s.`);
}
