/** One decision on one interrupt of a waiting run, whoever makes it: a person, an account that was connected, the clock. */
import { custom, type ConversationEvent, type Interrupt } from "@agent-engine/protocol/events.ts";
import type { QueueClass, Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import type { NewEvent } from "../events/append.ts";
import { uuidOf } from "../ids.ts";
import { cancelInTransaction } from "./cancel-run.ts";
import { callsNotDone, knownOutcome, type Decision, type Verdict } from "./decisions.ts";
import { endRun, waitsForOperator } from "./end-run.ts";
import { enqueueRun } from "./enqueue-run.ts";
import { firstExpiry } from "./interrupt-expiry.ts";
import type { LockedConversation } from "./lock-conversation.ts";
import { decideInvocation, editInvocation, leaveWritesOpen, type CallDecisionRecord } from "./tool-steps.ts";

/** The decision that let a run go on, as the worker finds it; those about calls are with the calls. */
export interface Resolution {
  interrupt: Interrupt;
  decision: Decision;
  payload: unknown;
  by: string;
}

const leaveOpen = statement<{ id: string }>(
  "run_interrupts",
  "update runs set interrupts = $2, interrupts_expire_at = $3 where id = $1 and status = 'waiting' and resume is null returning id",
);

const setResume = statement<{ hand_over: number; queue_class: QueueClass }>(
  "run_resume",
  `update runs set resume = $2, interrupts = '[]', interrupts_expire_at = null, hand_over = hand_over + 1, correlation_id = $3
   where id = $1 and status = 'waiting' and resume is null
   returning hand_over, queue_class`,
);

/**
 * Puts the decision on record, and lets the run go on with the last one. The caller holds the conversation and has read
 * the run under its lock.
 */
export async function decideInterrupt(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  run: Run,
  interrupt: Interrupt,
  verdict: Verdict,
): Promise<void> {
  const { decision, by } = verdict;
  const fact = { runId: run.id, audience: "all" as const, correlationId: ctx.correlationId };
  const events: NewEvent[] = [
    { ...fact, event: custom("run.resumed", { interruptId: interrupt.id, decision, by }) },
    ...editOf(interrupt, verdict).map((event) => ({ ...fact, audience: "staff" as const, event })),
  ];
  await appendInTransaction(ctx, tx, {
    conversationId: conversation.id,
    fence: null,
    events,
  });
  if (interrupt.toolCallId !== undefined) {
    if (verdict.arguments) await editInvocation(tx, run.id, interrupt.toolCallId, verdict.arguments);
    await decideInvocation(tx, run.id, interrupt.toolCallId, recordOf(ctx, interrupt, verdict));
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
  const resolution: Resolution = { interrupt, decision, payload: verdict.payload ?? null, by };
  const [row] = await tx.query(setResume, [uuidOf(run.id), jsonbOf(resolution), ctx.correlationId]);
  if (!row) throw new Error(`run ${run.id} does not wait`);
  await enqueueRun(ctx, tx, {
    runId: run.id,
    handOver: row.hand_over,
    queueClass: row.queue_class,
    isBlocked: false,
  });
}

function editOf({ id, toolCallId }: Interrupt, { arguments: args, by }: Verdict): ConversationEvent[] {
  if (!args || toolCallId === undefined) return [];
  return [custom("call.edited", { toolCallId, interruptId: id, arguments: args, by })];
}

/** The others are still to be decided, under their ids. Where they are all the team's, a message that waits goes first. */
async function waitOn(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  runId: string,
  open: readonly Interrupt[],
): Promise<void> {
  const [row] = await tx.query(leaveOpen, [uuidOf(runId), jsonbOf(open), firstExpiry(open)]);
  if (!row) throw new Error(`run ${runId} does not wait`);
  if (waitsForOperator(open) && conversation.hasQueuedRuns) await cancelInTransaction(ctx, tx, conversation, runId);
}

/** The decision as it is kept with the call. */
export function recordOf(ctx: Ctx, interrupt: Interrupt, verdict: Verdict): CallDecisionRecord {
  const outcome = knownOutcome(interrupt);
  return {
    kind: verdict.decision,
    by: verdict.by,
    actor: verdict.actor,
    at: new Date(ctx.services.clock()).toISOString(),
    ...verdict.details,
    ...(verdict.arguments ? { edited: true } : {}),
    ...(outcome === null ? {} : { outcome }),
  };
}
