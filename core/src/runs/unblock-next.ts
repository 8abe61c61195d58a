import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { ringAfterCommit } from "./ring.ts";

const unblock = statement<{
  run_id: string;
  hand_over: number;
  queue_class: QueueClass;
  correlation_id: string;
  state: "pending" | "dispatched";
}>("unblock_next", "select * from unblock_next($1)");

/** The conversation's active run is over: lets its oldest queued run go, and rings for it after the commit. */
export async function unblockNext(ctx: Ctx, tx: Tx, conversationId: string): Promise<void> {
  const [next] = await tx.query(unblock, [uuidOf(conversationId)]);
  if (next?.state !== "dispatched") return;
  ringAfterCommit(ctx, tx, next.queue_class, {
    runId: idOf("run", next.run_id),
    handOver: next.hand_over,
    correlationId: next.correlation_id,
  });
}
