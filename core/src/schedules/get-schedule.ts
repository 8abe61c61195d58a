import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

const byId = statement<ScheduleRow>("schedule_by_id", `select ${SCHEDULE_COLUMNS} from schedules s where s.id = $1`);

export async function getSchedule(ctx: Ctx, id: string): Promise<Schedule> {
  const scheduleId = parseId("schedule", id, "schedule");
  const [row] = await transact(ctx, (tx) => tx.query(byId, [uuidOf(scheduleId)]));
  if (!row) throw notFound("schedule");
  return toSchedule(row);
}
