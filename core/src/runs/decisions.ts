/** Which decisions an interrupt takes, from whom, and what one may carry. */
import type { Interrupt, InterruptReason } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { ProblemError } from "../errors.ts";
import type { CallDecisionRecord } from "./tool-steps.ts";

/** `connected` is nobody's to send: it follows from an account that was connected. */
export type Decision = "approve" | "decline" | "result" | "error" | "retry" | "done" | "abort" | "connected";

export interface Verdict {
  decision: Decision;
  payload?: unknown;
  /** As the log says it, to visitors too. */
  by: "visitor" | "operator" | "expiry";
  /** Who exactly, for the record of a call. */
  actor: string;
  /** What the payload adds to the record of a call. */
  details: Partial<Pick<CallDecisionRecord, "reason" | "content" | "of">>;
  /** Of an approval: what is sent in place of the model's arguments. */
  arguments?: Record<string, unknown>;
}

const DECISIONS: Record<InterruptReason, readonly Decision[]> = {
  approval: ["approve", "decline"],
  connection: ["decline"],
  client_tool: ["result", "error"],
  operator: ["retry", "done", "abort"],
};

/** `done` is about an action that may have happened; a model that did not answer can only be asked again. */
function decisionsOn({ reason, toolCallId }: Interrupt): readonly Decision[] {
  const allowed = DECISIONS[reason];
  return reason === "operator" && toolCallId === undefined ? allowed.filter((each) => each !== "done") : allowed;
}

/** @throws ProblemError `forbidden`, `invalid_request` or, for a run that has ended, `conflict` */
export function assertMayDecide(ctx: Ctx, interrupt: Interrupt, decision: Decision, hasEnded: boolean): void {
  assertAddressed(ctx, interrupt, decision);
  const allowed = decisionsOn(interrupt);
  if (!allowed.includes(decision)) {
    throw new ProblemError(
      "invalid_request",
      `An interrupt of kind ${interrupt.reason} takes ${allowed.join(", ")}; \`decision\` was ${decision}.`,
    );
  }
  if (hasEnded && decision === "retry") {
    throw new ProblemError(
      "conflict",
      "The run has ended, so nothing is sent for it any more. Decide `done` if the action did happen, `abort` to leave it; to make it again, send a new message.",
    );
  }
}

/** Nobody decides what is another's to decide. That nothing is done, staff may always say. */
function assertAddressed({ actor }: Ctx, { reason, metadata }: Interrupt, decision: Decision): void {
  const isVisitor = actor.kind === "visitor";
  const by = reason === "approval" ? metadata?.by : undefined;
  if (isVisitor && (reason === "operator" || by === "operator")) {
    throw new ProblemError("forbidden", "This is for the site's staff to decide.");
  }
  if (!isVisitor && by === "visitor" && decision === "approve") {
    throw new ProblemError("forbidden", "This is for the visitor to approve. You may decline it.");
  }
}

/** As the log says it, to visitors too. */
export function decidedBy(ctx: Ctx): "visitor" | "operator" {
  return ctx.actor.kind === "visitor" ? "visitor" : "operator";
}

/** Who exactly, for the record of a call. */
export function deciderId({ actor }: Ctx): string {
  switch (actor.kind) {
    case "visitor":
      return actor.visitorId;
    case "secret_key":
      return actor.apiKeyId;
    case "member":
      return actor.memberId;
    case "worker":
      return "worker";
  }
}

/** What an operator's interrupt says of its call: `unknown`, `not_done`, or nothing. */
export function knownOutcome({ metadata }: Interrupt): string | null {
  return typeof metadata?.outcome === "string" ? metadata.outcome : null;
}

/** The calls of these interrupts that were begun and certainly never left. */
export function callsNotDone(interrupts: readonly Interrupt[]): string[] {
  return interrupts.flatMap((interrupt) =>
    interrupt.toolCallId !== undefined && knownOutcome(interrupt) === "not_done" ? [interrupt.toolCallId] : [],
  );
}

const MAX_REASON_LENGTH = 2_000;

/**
 * What the payload adds to a decision about a tool call: a reason for the model, what is known to have happened, or what
 * the visitor's browser answered.
 */
export function decisionDetails(
  { reason: asked }: Interrupt,
  decision: Decision,
  payload: unknown,
): { reason?: string; content?: unknown; of?: string } {
  const given: Record<string, unknown> = typeof payload === "object" && payload !== null ? { ...payload } : {};
  const { reason, content, message } = given;
  const because = decision === "error" ? message : reason;
  return {
    ...(typeof because === "string" ? { reason: because.slice(0, MAX_REASON_LENGTH) } : {}),
    ...(typeof content === "string" || decision === "result" ? { content: content ?? null } : {}),
    ...(decision === "decline" && asked !== "approval" ? { of: asked } : {}),
  };
}
