import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { insertSchedule } from "./insert-schedule.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

const byCall = statement<ScheduleRow>(
  "schedule_by_call",
  `select ${SCHEDULE_COLUMNS} from schedules s where s.call_key = $1`,
);

export interface PlanFollowUp {
  conversationId: string;
  agentId: string;
  runId: string;
  /** Of the tool call: a call that is repeated plans nothing more. */
  callKey: string;
  /** Milliseconds since the epoch. */
  at: number;
  instructions: string;
}

/**
 * What an agent plans for later, in the conversation it is in. Only a run that is under way plans: what a cancelled one
 * or an erased conversation still asks for is refused.
 */
export async function planFollowUp(ctx: Ctx, input: PlanFollowUp): Promise<Schedule> {
  const { conversationId, agentId, runId, callKey, at, instructions } = input;
  return transact(ctx, async (tx) => {
    const conversation = await lockConversation(ctx, tx, conversationId);
    const [known] = await tx.query(byCall, [callKey]);
    if (known) return toSchedule(known);
    if (conversation.activeRun?.id !== runId) {
      throw new ProblemError("conflict", "The run is over, so it plans nothing any more.");
    }
    return insertSchedule(ctx, tx, {
      agentId,
      conversationId,
      createdBy: "agent",
      callKey,
      input: instructions,
      at,
    });
  });
}
