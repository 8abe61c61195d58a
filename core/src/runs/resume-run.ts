import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { QueueClass, Run } from "@agent-engine/protocol/resources.ts";
import { auditStaff } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { parseId, uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { closedInterrupt } from "./closed-interrupt.ts";
import {
  assertMayDecide,
  callsNotDone,
  decidedBy,
  deciderId,
  decisionDetails,
  knownOutcome,
  type Decision,
} from "./decisions.ts";
import { endRun, waitsForOperator } from "./end-run.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { findRun } from "./get-run.ts";
import { lockConversation, type LockedConversation } from "./lock-conversation.ts";
import { decideInvocation, leaveWritesOpen, settleInvocation, type CallDecisionRecord } from "./tool-steps.ts";

/** The decision that let a run go on, as the worker finds it; those about calls are with the calls. */
export interface Resolution {
  interrupt: Interrupt;
  decision: Decision;
  payload: unknown;
  by: string;
}

export interface ResumeRun {
  runId: string;
  interruptId: string;
  decision: Decision;
  payload?: unknown;
}

const leaveOpen = statement<{ id: string }>(
  "run_interrupts",
  "update runs set interrupts = $2 where id = $1 and status = 'waiting' and resume is null returning id",
);

const setResume = statement<{ hand_over: number; queue_class: QueueClass }>(
  "run_resume",
  `update runs set resume = $2, interrupts = '[]', hand_over = hand_over + 1, correlation_id = $3
   where id = $1 and status = 'waiting' and resume is null
   returning hand_over, queue_class`,
);

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
    if (hasEnded) await settleQuestion(ctx, tx, run, interrupt, input);
    else await decide(ctx, tx, conversation, run, interrupt, input);
    const { id: interruptId, reason, toolCallId = null } = interrupt;
    const target = { kind: "run", id: runId };
    const after = { decision: input.decision, interruptId, reason, toolCallId };
    await auditStaff(ctx, tx, { action: "run.decided", target, after });
    return findRun(ctx, tx, runId);
  });
}

async function decide(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  run: Run,
  interrupt: Interrupt,
  input: ResumeRun,
): Promise<void> {
  const { decision } = input;
  const by = decidedBy(ctx);
  const fact = { runId: run.id, audience: "all" as const, correlationId: ctx.correlationId };
  const event = custom("run.resumed", { interruptId: interrupt.id, decision, by });
  await appendInTransaction(ctx, tx, {
    conversationId: conversation.id,
    fence: null,
    events: [{ ...fact, event }],
  });
  if (interrupt.toolCallId !== undefined) {
    await decideInvocation(tx, run.id, interrupt.toolCallId, recordOf(ctx, interrupt, input));
  }
  if (interrupt.reason === "operator" && decision === "abort") {
    await leaveWritesOpen(tx, run.id, callsNotDone(run.interrupts));
    return endRun(ctx, tx, {
      conversationId: conversation.id,
      runId: run.id,
      fence: null,
      events: [
        { ...fact, event: { type: "RUN_ERROR", code: "aborted", message: "The request was stopped by our team." } },
      ],
      status: "failed",
      finishReason: null,
      error: { code: "aborted", message: "An operator aborted the run." },
      usage: run.usage,
      texts: new Map(),
    });
  }
  const open = run.interrupts.filter(({ id }) => id !== interrupt.id);
  if (open.length > 0) return waitOn(ctx, tx, conversation, run.id, open);
  const resolution: Resolution = { interrupt, decision, payload: input.payload ?? null, by };
  const [row] = await tx.query(setResume, [uuidOf(run.id), jsonbOf(resolution), ctx.correlationId]);
  if (!row) throw new Error(`run ${run.id} does not wait`);
  await enqueueRun(ctx, tx, {
    runId: run.id,
    handOver: row.hand_over,
    queueClass: row.queue_class,
    isBlocked: false,
  });
}

/** The others are still to be decided, under their ids. Where they are all the team's, a message that waits goes first. */
async function waitOn(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  runId: string,
  open: readonly Interrupt[],
): Promise<void> {
  const [row] = await tx.query(leaveOpen, [uuidOf(runId), jsonbOf(open)]);
  if (!row) throw new Error(`run ${runId} does not wait`);
  if (waitsForOperator(open) && conversation.hasQueuedRuns) await cancelInTransaction(ctx, tx, conversation, runId);
}

/** What became of a write whose run has ended: a fact about the call, and in the conversation's log, for staff. */
async function settleQuestion(ctx: Ctx, tx: Tx, run: Run, interrupt: Interrupt, input: ResumeRun): Promise<void> {
  const { toolCallId } = interrupt;
  if (toolCallId === undefined) throw new Error(`interrupt ${interrupt.id} of an ended run is about no call`);
  const { decision } = input;
  const value = { runId: run.id, toolCallId, interruptId: interrupt.id, decision, by: decidedBy(ctx) };
  await settleInvocation(tx, run.id, toolCallId, recordOf(ctx, interrupt, input));
  // Not the run's: its events have ended.
  const fact = { runId: null, audience: "staff" as const, correlationId: ctx.correlationId };
  await appendInTransaction(ctx, tx, {
    conversationId: run.conversationId,
    fence: null,
    events: [{ ...fact, event: custom("call.decided", value) }],
  });
}

function recordOf(ctx: Ctx, interrupt: Interrupt, { decision, payload }: ResumeRun): CallDecisionRecord {
  const outcome = knownOutcome(interrupt);
  return {
    kind: decision,
    by: decidedBy(ctx),
    actor: deciderId(ctx),
    at: new Date(ctx.services.clock()).toISOString(),
    ...decisionDetails(payload),
    ...(outcome === null ? {} : { outcome }),
  };
}
