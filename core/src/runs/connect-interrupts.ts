import { custom } from "@agent-engine/protocol/events.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { decideInterrupt } from "./decide-interrupt.ts";
import { findRun } from "./get-run.ts";
import { lockConversation } from "./lock-conversation.ts";

/**
 * An account was connected for which a run waits: every open interrupt `connection` of its toolkit is decided by that,
 * and with the last interrupt the run goes on. Does nothing when there is none: the visitor declined, somebody was
 * faster, the run has ended. Joins the context's transaction.
 *
 * @returns how many were decided
 */
export async function connectInterrupts(
  ctx: Ctx,
  { runId, toolkitId, connectionId }: { runId: string; toolkitId: string; connectionId: string },
): Promise<number> {
  // Not the visitor's word but ours: nobody can send this decision.
  const own: Ctx = { ...ctx, actor: { kind: "worker" } };
  return transact(own, async (tx) => {
    const { conversationId } = await findRun(own, tx, runId);
    const conversation = await lockConversation(own, tx, conversationId);
    let run = await findRun(own, tx, runId);
    if (run.status !== "waiting") return 0;
    const waiting = run.interrupts.filter(
      ({ reason, metadata }) => reason === "connection" && metadata?.toolkitId === toolkitId,
    );
    if (waiting.length === 0) return 0;
    const event = custom("connection.updated", { connectionId, status: "active" });
    await appendInTransaction(own, tx, {
      conversationId,
      fence: null,
      events: [{ event, runId, audience: "all", correlationId: ctx.correlationId }],
    });
    for (const interrupt of waiting) {
      const verdict = { decision: "connected", by: "visitor", actor: connectionId, details: {} } as const;
      await decideInterrupt(own, tx, conversation, run, interrupt, verdict);
      run = { ...run, interrupts: run.interrupts.filter(({ id }) => id !== interrupt.id) };
    }
    return waiting.length;
  });
}
