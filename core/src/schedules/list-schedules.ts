import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

const list = statement<ScheduleRow>(
  "schedules_list",
  `select ${SCHEDULE_COLUMNS} from schedules s where s.tenant_id = $1 and s.id < $2 order by s.id desc limit $3`,
);

/** The tenant's schedules, the newest first, whatever became of them. */
export async function listSchedules(ctx: Ctx, page: PageRequest): Promise<Page<Schedule>> {
  const cursor = cursorUuid("schedule", page.cursor);
  const rows = await transact(ctx, (tx) => tx.query(list, [uuidOf(ctx.tenantId), cursor, page.limit + 1]));
  return pageOf(rows, page, toSchedule);
}
