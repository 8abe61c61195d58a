import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { auditStaff } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { parseId } from "../ids.ts";
import { approvedArguments, changedNames } from "./approved-arguments.ts";
import { assertAnswers } from "./browser-answer.ts";
import { closedInterrupt } from "./closed-interrupt.ts";
import { decideInterrupt, recordOf } from "./decide-interrupt.ts";
import { assertMayDecide, decidedBy, deciderId, decisionDetails, type Decision, type Verdict } from "./decisions.ts";
import { findRun } from "./get-run.ts";
import { expiredProblem, hasExpired } from "./interrupt-expiry.ts";
import { lockConversation } from "./lock-conversation.ts";
import { settleInvocation } from "./tool-steps.ts";

export interface ResumeRun {
  runId: string;
  interruptId: string;
  decision: Decision;
  payload?: unknown;
}

/**
 * Decides one of the interrupts that a run waits for. Each is decided by itself and at once on record; with the last
 * one the run goes on. The first decision on an interrupt wins; a later one is `interrupt_resolved`. The question that
 * a run left open when it ended is decided here too, and then only recorded.
 */
export async function resumeRun(ctx: Ctx, input: ResumeRun): Promise<Run> {
  const runId = parseId("run", input.runId, "run");
  return transact(ctx, async (tx) => {
    const { conversationId } = await findRun(ctx, tx, runId);
    const conversation = await lockConversation(ctx, tx, conversationId);
    // Read again under the lock: two people may be answering at once.
    const run = await findRun({ ...ctx, actor: { kind: "worker" } }, tx, runId);
    const hasEnded = run.finishedAt !== null;
    const interrupt = run.interrupts.find(({ id }) => id === input.interruptId);
    if (!interrupt || (hasEnded && ctx.actor.kind === "visitor")) {
      throw await closedInterrupt(tx, run, input.interruptId);
    }
    assertMayDecide(ctx, interrupt, input.decision, hasEnded);
    if (hasExpired(interrupt, ctx.services.clock())) throw expiredProblem(interrupt);
    const { decision, payload } = input;
    assertAnswers(interrupt, decision, payload);
    const details = decisionDetails(interrupt, decision, payload);
    const args = approvedArguments(ctx, interrupt, decision, payload);
    const who = { by: decidedBy(ctx), actor: deciderId(ctx) };
    const verdict: Verdict = { decision, payload, ...who, details, ...(args ? { arguments: args } : {}) };
    if (hasEnded) await settleQuestion(ctx, tx, run, interrupt, verdict);
    else await decideInterrupt(ctx, tx, conversation, run, interrupt, verdict);
    const { id: interruptId, reason, toolCallId = null } = interrupt;
    const target = { kind: "run", id: runId };
    const edited = args ? { edited: changedNames(interrupt.metadata?.arguments, args) } : {};
    const after = { decision, interruptId, reason, toolCallId, ...edited };
    await auditStaff(ctx, tx, { action: "run.decided", target, after });
    return findRun(ctx, tx, runId);
  });
}

/** What became of a write whose run has ended: a fact about the call, and in the conversation's log, for staff. */
async function settleQuestion(ctx: Ctx, tx: Tx, run: Run, interrupt: Interrupt, verdict: Verdict): Promise<void> {
  const { toolCallId } = interrupt;
  if (toolCallId === undefined) throw new Error(`interrupt ${interrupt.id} of an ended run is about no call`);
  const { decision, by } = verdict;
  const value = { runId: run.id, toolCallId, interruptId: interrupt.id, decision, by };
  await settleInvocation(tx, run.id, toolCallId, recordOf(ctx, interrupt, verdict));
  // Not the run's: its events have ended.
  const fact = { runId: null, audience: "staff" as const, correlationId: ctx.correlationId };
  await appendInTransaction(ctx, tx, {
    conversationId: run.conversationId,
    fence: null,
    events: [{ ...fact, event: custom("call.decided", value) }],
  });
}
