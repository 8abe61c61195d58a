import type { QueueClass, RunStatus } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";

const statusOf = statement<{ status: RunStatus }>("run_status", "select status from runs where id = $1");

const unrung = statement<{ run_id: string; hand_over: number; queue_class: QueueClass; correlation_id: string }>(
  "next_doorbell",
  `select j.run_id, j.hand_over, j.queue_class, j.correlation_id
   from runs r join jobs j on j.run_id = r.id and j.hand_over = r.hand_over
   where r.conversation_id = $1 and r.status = 'queued' and j.state = 'dispatched'`,
);

/**
 * For a worker whose last word on a run was not answered: whether the run is out of its hands. What would have followed
 * the answer is made up for: the next run's doorbell is rung. Readers find the events by the repair of heads.
 */
export async function findEnd(ctx: Ctx, input: { conversationId: string; runId: string }): Promise<boolean> {
  const { services, tenantId } = ctx;
  const [run, next] = await inTenant(services.db, tenantId, async (tx) => {
    const [found] = await tx.query(statusOf, [uuidOf(input.runId)]);
    const [doorbell] = await tx.query(unrung, [uuidOf(input.conversationId)]);
    return [found, doorbell];
  });
  if (!run || run.status === "running") return false;
  if (next) {
    const { run_id: id, hand_over: handOver, correlation_id: correlationId } = next;
    await services.queue.ring(next.queue_class, { runId: idOf("run", id), handOver, correlationId });
  }
  return true;
}
