import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

export const MAX_DAYS_AHEAD = 30;
export const MAX_OPEN = 10;

const DAY_MS = 86_400_000;

const countOpen = statement<{ open: number }>(
  "schedules_open",
  "select count(*)::int as open from schedules where conversation_id = $1 and status = 'open'",
);

const insert = statement<ScheduleRow>(
  "schedule_insert",
  `insert into schedules as s (id, tenant_id, agent_id, conversation_id, created_by, call_key, input, due_at, try_at)
   select $1, $2, a.id, $4, $5, $6, $7, $8, $8 from agents a where a.id = $3
   returning ${SCHEDULE_COLUMNS}`,
);

export interface NewSchedule {
  agentId: string;
  /** Held by the caller, so that they can be counted; null: it is to start one of its own. */
  conversationId: string | null;
  createdBy: Schedule["createdBy"];
  callKey: string | null;
  input: string;
  /** Milliseconds since the epoch. */
  at: number;
}

/** @throws ProblemError `invalid_request` for a time out of bounds, `conflict` when too many are open already. */
export async function insertSchedule(ctx: Ctx, tx: Tx, input: NewSchedule): Promise<Schedule> {
  const { services, tenantId } = ctx;
  const now = services.clock();
  if (!(input.at > now)) {
    throw new ProblemError("invalid_request", `\`at\` must lie ahead: it is ${new Date(now).toISOString()} now.`);
  }
  if (input.at > now + MAX_DAYS_AHEAD * DAY_MS) {
    throw new ProblemError("invalid_request", `\`at\` must lie within the next ${MAX_DAYS_AHEAD} days.`);
  }
  if (input.conversationId !== null) {
    const [count] = await tx.query(countOpen, [uuidOf(input.conversationId)]);
    if ((count?.open ?? 0) >= MAX_OPEN) {
      throw new ProblemError(
        "conflict",
        `This conversation has ${MAX_OPEN} schedules that have not started, which is the most. Cancel one first.`,
      );
    }
  }
  const [row] = await tx.query(insert, [
    uuidOf(services.newId("schedule")),
    uuidOf(tenantId),
    uuidOf(input.agentId),
    input.conversationId === null ? null : uuidOf(input.conversationId),
    input.createdBy,
    input.callKey,
    input.input,
    new Date(input.at),
  ]);
  if (!row) throw notFound("agent");
  return toSchedule(row);
}
