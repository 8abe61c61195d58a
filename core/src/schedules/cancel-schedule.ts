import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

const hold = statement<ScheduleRow>(
  "schedule_hold",
  `select ${SCHEDULE_COLUMNS} from schedules s where s.id = $1 for update`,
);

const cancel = statement<ScheduleRow>(
  "schedule_cancel",
  `update schedules s set status = 'cancelled', reason = 'It was cancelled.', ended_at = now()
   where s.id = $1 returning ${SCHEDULE_COLUMNS}`,
);

/** Nothing starts any more; it stays on record. One that has started is a run by now, and cancelled as a run. */
export async function cancelSchedule(ctx: Ctx, scheduleId: string): Promise<void> {
  const id = parseId("schedule", scheduleId, "schedule");
  await transact(ctx, async (tx) => {
    const [before] = await tx.query(hold, [uuidOf(id)]);
    if (!before) throw notFound("schedule");
    if (before.status === "started") {
      throw new ProblemError("conflict", "It has started already. Cancel its run, which `runId` names.");
    }
    if (before.status !== "open") return;
    const [after] = await tx.query(cancel, [uuidOf(id)]);
    await audit(ctx, tx, {
      action: "schedule.cancelled",
      target: { kind: "schedule", id },
      before: { ...toSchedule(before) },
      after: after ? { ...toSchedule(after) } : null,
    });
  });
}
