import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { parseId } from "../ids.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { insertSchedule } from "./insert-schedule.ts";

export interface CreateSchedule {
  agentId: string;
  /** One of its own by default. */
  conversationId?: string;
  /** ISO 8601. */
  at: string;
  input: string;
}

/** A partner's run at a later time: what `startRun` does, then. */
export async function createSchedule(ctx: Ctx, input: CreateSchedule): Promise<Schedule> {
  const agentId = parseId("agent", input.agentId, "agent");
  const conversationId =
    input.conversationId === undefined ? null : parseId("conv", input.conversationId, "conversation");
  return transact(ctx, async (tx) => {
    if (conversationId !== null) {
      const conversation = await lockConversation(ctx, tx, conversationId);
      if (conversation.agentId !== agentId) {
        throw new ProblemError("invalid_request", "`conversationId` belongs to another agent. Leave it out.");
      }
    }
    const schedule = await insertSchedule(ctx, tx, {
      agentId,
      conversationId,
      createdBy: "staff",
      callKey: null,
      input: input.input,
      at: Date.parse(input.at),
    });
    const target = { kind: "schedule", id: schedule.id };
    await audit(ctx, tx, { action: "schedule.created", target, after: { ...schedule } });
    return schedule;
  });
}
