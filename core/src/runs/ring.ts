import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import type { Tx } from "../db/transaction.ts";
import type { Doorbell } from "../queue/run-queue.ts";

/** Rings once the transaction is committed. Not awaited: an answer never waits for the broker. */
export function ringAfterCommit(ctx: Pick<Ctx, "services">, tx: Tx, queueClass: QueueClass, doorbell: Doorbell): void {
  tx.afterCommit(() => void ctx.services.queue.ring(queueClass, doorbell));
}
