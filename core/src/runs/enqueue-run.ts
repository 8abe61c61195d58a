import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { ringAfterCommit } from "./ring.ts";

const enqueue = statement<{ state: "blocked" | "pending" | "dispatched" }>(
  "enqueue_run",
  "select enqueue_run($1, $2, $3, $4, $5, $6) as state",
);

/** Puts a run's doorbell on record, and rings it after the commit unless there is a backlog or a run before it. */
export async function enqueueRun(
  ctx: Ctx,
  tx: Tx,
  run: { runId: string; handOver: number; queueClass: QueueClass; isBlocked: boolean },
): Promise<void> {
  const [job] = await tx.query(enqueue, [
    uuidOf(run.runId),
    run.handOver,
    uuidOf(ctx.tenantId),
    run.queueClass,
    ctx.correlationId,
    run.isBlocked,
  ]);
  if (job?.state !== "dispatched") return;
  ringAfterCommit(ctx, tx, run.queueClass, {
    runId: run.runId,
    handOver: run.handOver,
    correlationId: ctx.correlationId,
  });
}
