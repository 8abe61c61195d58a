/**
 * Starts what is due. Every worker looks; an advisory lock for each schedule lets one act and the others pass by, and the
 * run and the schedule's new status are one transaction: whoever dies in between has done nothing.
 *
 * Locks are taken as everywhere: the conversation's head before the schedule's row.
 */
import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { Ctx, Services } from "../context.ts";
import { isPostgresUnavailable } from "../db/postgres-unavailable.ts";
import { statement } from "../db/statement.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { startRun } from "../runs/start-run.ts";
import { submitInstruction } from "../runs/submit-instruction.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "./schedule-row.ts";

const EVERY_MS = 1_000;
const AT_ONCE = 50;
/** Tries at most, the pause between two of them doubling up to five minutes: about an hour. */
const MAX_TRIES = 18;

interface DueRow {
  id: string;
  tenant_id: string;
  conversation_id: string | null;
}

const due = statement<DueRow>("due_schedules", "select * from due_schedules($1)");

const tryLock = statement<{ locked: boolean }>(
  "schedule_try_lock",
  "select pg_try_advisory_xact_lock(hashtextextended('agent-engine:schedule:' || $1::uuid, 0)) as locked",
);

const take = statement<ScheduleRow>(
  "schedule_take",
  `select ${SCHEDULE_COLUMNS} from schedules s where s.id = $1 and s.status = 'open' and s.try_at <= now() for update`,
);

const started = statement(
  "schedule_started",
  "update schedules set status = 'started', run_id = $2, conversation_id = $3, ended_at = now() where id = $1",
);

const dropped = statement(
  "schedule_dropped",
  "update schedules set status = $2, reason = $3, ended_at = now() where id = $1 and status = 'open'",
);

const postponed = statement<{ tries: number }>(
  "schedule_postponed",
  `update schedules set tries = tries + 1, try_at = now() + least(300, power(2, tries)) * interval '1 second'
   where id = $1 and status = 'open' returning tries`,
);

/** Answers how many runs were started. */
export async function startDueSchedules(services: Services): Promise<number> {
  let runs = 0;
  for (const row of await services.db.query(due, [AT_ONCE])) {
    const ctx: Ctx = {
      services,
      tenantId: idOf("tenant", row.tenant_id),
      actor: { kind: "worker" },
      correlationId: services.newId("req"),
    };
    try {
      if (await inTenant(services.db, ctx.tenantId, (tx) => startOne({ ...ctx, tx }, tx, row))) runs++;
    } catch (error) {
      if (isPostgresUnavailable(error)) throw error;
      await noteFailure(ctx, row, error);
    }
  }
  return runs;
}

async function startOne(ctx: Ctx, tx: Tx, row: DueRow): Promise<boolean> {
  const [lock] = await tx.query(tryLock, [row.id]);
  if (!lock?.locked) return false;
  const conversationId = row.conversation_id === null ? null : idOf("conv", row.conversation_id);
  const conversation = conversationId === null ? null : await lockConversation(ctx, tx, conversationId);
  const [taken] = await tx.query(take, [row.id]);
  if (!taken) return false;
  if (conversation?.mode === "operator") {
    // Who speaks now is a person; what was planned before is theirs to take up.
    await tx.query(dropped, [row.id, "cancelled", "A person of the team has the conversation."]);
    return false;
  }
  const run = await startAs(ctx, tx, toSchedule(taken));
  await tx.query(started, [row.id, uuidOf(run.id), uuidOf(run.conversationId)]);
  return true;
}

/** A partner's is what a partner says; an agent's own plan is nothing that anybody has said. */
async function startAs(ctx: Ctx, tx: Tx, schedule: Schedule): Promise<{ id: string; conversationId: string }> {
  const { agentId, conversationId, input, createdBy, createdAt } = schedule;
  const queueClass = "standard";
  if (createdBy === "agent" && conversationId !== null) {
    const text = followUpText(input, createdAt);
    return submitInstruction(ctx, tx, { conversationId, text, name: "Follow-up", queueClass });
  }
  const of = conversationId === null ? {} : { conversationId };
  return (await startRun(ctx, { agentId, input, queueClass, ...of })).run;
}

/** What the model reads in place of a visitor's message. */
function followUpText(instructions: string, plannedAt: string): string {
  return (
    `[This is the follow-up that you planned at ${plannedAt}, and it is due now. The visitor has not written this and ` +
    `does not see it: they see only what you answer. What you planned to do:]\n\n${instructions}`
  );
}

async function noteFailure(ctx: Ctx, row: DueRow, error: unknown): Promise<void> {
  const { services, tenantId } = ctx;
  // In the way is only another run, which will end.
  const isFinal = error instanceof ProblemError && error.code !== "run_active";
  const detail = error instanceof ProblemError ? error.detail : "It could not be started; the platform's log says why.";
  services.log.warn({ err: error, tenantId, scheduleId: idOf("schedule", row.id) }, "a schedule did not start");
  await inTenant(services.db, tenantId, async (tx) => {
    const [tried] = isFinal ? [] : await tx.query(postponed, [row.id]);
    if (isFinal || (tried && tried.tries >= MAX_TRIES)) await tx.query(dropped, [row.id, "failed", detail]);
  });
}

/** Does so again and again. */
export function watchSchedules(services: Services): Repeated {
  return repeat(services.log, EVERY_MS, async () => void (await startDueSchedules(services)));
}
