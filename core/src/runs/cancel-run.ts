import { closeBrackets } from "@agent-engine/protocol/brackets.ts";
import { defaultAudience } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { auditStaff } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { parseId, uuidOf } from "../ids.ts";
import { callsNotDone } from "./decisions.ts";
import { findRun } from "./get-run.ts";
import { lockConversation, type LockedConversation } from "./lock-conversation.ts";
import { runAsLogged } from "./run-log-range.ts";
import { saveMessages } from "./save-messages.ts";
import { spentSoFar } from "./spent-usage.ts";
import { leaveWritesOpen } from "./tool-steps.ts";
import { unblockNext } from "./unblock-next.ts";

const setCancelled = statement(
  "run_cancel",
  `update runs set status = 'cancelled', finish_reason = 'cancelled', finished_at = now(), last_seq = $2, usage = $3, interrupts = '[]',
     resume = null
   where id = $1 and status in ('queued', 'running', 'waiting')`,
);

const closeJobs = statement("jobs_close", "update jobs set state = 'done' where run_id = $1 and state <> 'done'");

/** Frees the conversation; the higher epoch fences whoever still believes to hold the run. */
export const releaseHead = statement(
  "head_release",
  "update conversation_heads set run_id = null, epoch = epoch + 1 where conversation_id = $1 and run_id = $2",
);

const UNANSWERED = "The run was cancelled before this tool call had a result.";

/**
 * Cancels a run at whatever moment it is in: one committed decision, after which nobody can write for it. Also
 * answers the run when it had already ended.
 */
export async function cancelRun(ctx: Ctx, id: string): Promise<Run> {
  const runId = parseId("run", id, "run");
  return transact(ctx, async (tx) => {
    const run = await findRun(ctx, tx, runId);
    if (run.finishedAt !== null) return run;
    const conversation = await lockConversation(ctx, tx, run.conversationId);
    await cancelInTransaction(ctx, tx, conversation, runId);
    const cancelled = await findRun(ctx, tx, runId);
    const { status } = cancelled;
    const target = { kind: "run", id: runId };
    // It may have ended by itself while we waited for the lock.
    if (status === "cancelled") {
      await auditStaff(ctx, tx, { action: "run.cancelled", target, before: { status: run.status }, after: { status } });
    }
    return cancelled;
  });
}

/**
 * The same for a caller that holds the conversation. Does nothing to a run that has ended.
 *
 * @param next `kept`: the caller says what goes next; by default the oldest run that waits for its turn
 */
export async function cancelInTransaction(
  ctx: Ctx,
  tx: Tx,
  conversation: LockedConversation,
  runId: string,
  next: "goes" | "kept" = "goes",
): Promise<void> {
  const run = await findRun({ ...ctx, actor: { kind: "worker" } }, tx, runId);
  if (run.finishedAt !== null) return;
  // A worker reports at the end only; what its finished steps used is known by now.
  const usage = run.status === "running" ? await spentSoFar(tx, runId) : run.usage;

  const logged = await runAsLogged(tx, conversation.id, runId);
  const started: ConversationEvent = { type: "RUN_STARTED", threadId: conversation.id, runId };
  const events: ConversationEvent[] = [
    // A run that never began, or that was to go on, has nothing to end: it begins once more to be ended. Only the log
    // says so: a worker may hold the run and have written nothing yet.
    ...(logged.isRunning ? [] : [started]),
    ...closeBrackets(logged.brackets, {
      answer: { content: UNANSWERED, newMessageId: () => ctx.services.newId("msg") },
    }),
    {
      type: "RUN_FINISHED",
      threadId: conversation.id,
      runId,
      outcome: { type: "cancelled" },
      result: { finishReason: "cancelled" },
      usage,
    },
  ];
  const stored = await appendInTransaction(ctx, tx, {
    conversationId: conversation.id,
    fence: null,
    events: events.map((event) => ({
      event,
      runId,
      audience: defaultAudience(event),
      correlationId: ctx.correlationId,
    })),
  });
  await tx.query(setCancelled, [uuidOf(runId), stored.at(-1)?.seq ?? null, JSON.stringify(usage)]);
  await tx.query(closeJobs, [uuidOf(runId)]);
  await leaveWritesOpen(tx, runId, callsNotDone(run.interrupts));
  await saveMessages(tx, { tenantId: ctx.tenantId, conversationId: conversation.id, runId }, logged.texts);
  const { activeRun } = conversation;
  if (activeRun?.id === runId) await tx.query(releaseHead, [uuidOf(conversation.id), uuidOf(runId)]);
  if (next === "goes" && (activeRun === null || activeRun.id === runId)) await unblockNext(ctx, tx, conversation.id);
  tx.afterCommit(() => ctx.services.bus.control.publish({ kind: "run.cancelled", runId }));
}
