import type { Job, JobState, Page, QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";

interface JobRow {
  run_id: string;
  hand_over: number;
  queue_class: QueueClass;
  state: JobState;
  reason: string | null;
  capped: boolean;
  created_at: Date;
  dispatched_at: Date | null;
}

const COLUMNS =
  "j.run_id, j.hand_over, j.queue_class, j.state, j.reason, j.capped, j.created_at, j.dispatched_at" as const;
const PAGE = "j.tenant_id = $1 and (j.run_id, j.hand_over) < ($2, $3)";
const CLASSES = "j.queue_class in ('priority', 'standard')";
const NEWEST = "order by run_id desc, hand_over desc limit $4";

/** By way of the tenant's runs, which are in order: what is over has no index of its own. */
const throughRuns = (condition: string) =>
  `select ${COLUMNS} from runs r join jobs j on j.run_id = r.id
   where r.tenant_id = $1 and r.id <= $2 and ${PAGE} and ${condition} order by r.id desc, j.hand_over desc limit $4`;

/** One statement for each state, since what is not over lies in an index for each. */
const listings: Record<JobState | "any", ReturnType<typeof statement<JobRow>>> = {
  any: statement("jobs_of_tenant", throughRuns("true")),
  done: statement("jobs_done", throughRuns("j.state = 'done'")),
  pending: statement(
    "jobs_pending",
    `select ${COLUMNS} from jobs j where j.state = 'pending' and not j.capped and ${CLASSES} and ${PAGE}
     union all
     select ${COLUMNS} from jobs j where j.state = 'pending' and j.capped and ${PAGE} ${NEWEST}`,
  ),
  dispatched: statement(
    "jobs_dispatched",
    `select ${COLUMNS} from jobs j where j.state = 'dispatched' and ${CLASSES} and ${PAGE} ${NEWEST}`,
  ),
  blocked: statement("jobs_blocked", `select ${COLUMNS} from jobs j where j.state = 'blocked' and ${PAGE} ${NEWEST}`),
  dead: statement("jobs_dead", `select ${COLUMNS} from jobs j where j.state = 'dead' and ${PAGE} ${NEWEST}`),
};

/** The tenant's jobs, or those in one state, newest run first: its backlog and its dead letters. For staff. */
export async function listJobs(ctx: Ctx, page: PageRequest & { state?: JobState }): Promise<Page<Job>> {
  const [uuid, handOver] = below(page.cursor);
  const values = [uuidOf(ctx.tenantId), uuid, handOver, page.limit + 1];
  const rows = await transact(ctx, (tx) => tx.query(listings[page.state ?? "any"], values));
  return pageOf(rows, page, toJob);
}

const ABOVE_ALL: [string, number] = ["ffffffff-ffff-ffff-ffff-ffffffffffff", 0];

/** A job's id is its run's and the number of the hand-over; so is the cursor. */
function below(cursor: string | null): [uuid: string, handOver: number] {
  if (cursor === null) return ABOVE_ALL;
  const [, run = "", handOver = ""] = /^(run_[0-9a-f]{32})-([1-9]\d{0,8})$/.exec(cursor) ?? [];
  // What is none is refused there, in the words of every list.
  return [cursorUuid("run", run), Number(handOver)];
}

function toJob(row: JobRow): Job {
  const runId = idOf("run", row.run_id);
  return {
    id: `${runId}-${row.hand_over}`,
    runId,
    handOver: row.hand_over,
    queueClass: row.queue_class,
    state: row.state,
    reason: row.reason ?? (row.state === "pending" && row.capped ? "tenant_at_cap" : null),
    createdAt: row.created_at.toISOString(),
    dispatchedAt: row.dispatched_at?.toISOString() ?? null,
  };
}
