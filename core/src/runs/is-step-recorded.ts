import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const recorded = statement<{ step_index: number }>(
  "step_recorded",
  `select s.step_index from steps s
   join conversation_heads h on h.conversation_id = $3 and h.run_id = s.run_id and h.epoch = $4
   where s.run_id = $1 and s.step_index = $2`,
);

/** For a worker whose record of a step was not answered: whether it is there, and the run still this lease's. */
export async function isStepRecorded(
  ctx: Ctx,
  step: { conversationId: string; runId: string; epoch: number; index: number },
): Promise<boolean> {
  const values = [uuidOf(step.runId), step.index, uuidOf(step.conversationId), step.epoch];
  return (await transact(ctx, (tx) => tx.query(recorded, values))).length === 1;
}
