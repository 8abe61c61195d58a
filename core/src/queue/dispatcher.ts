/**
 * What every worker does besides executing runs: it takes those who wait when it has places, tells them how long it may
 * take, finds runs that should move and do not, and clears away what is over. Postgres lets one act at a time where it
 * matters, and acting twice does no harm.
 */
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { repeat } from "../repeat.ts";
import { serveBacklog, type Backlog, type BacklogWorker } from "./backlog.ts";
import { QUEUE_CLASSES } from "./run-queue.ts";
import { tellWaiting } from "./tell-waiting.ts";

const TELL_MS = 150;
const SWEEP_MS = 500;
const PARTITIONS_MS = 24 * 3_600_000;
/** A doorbell that was rung and not answered for so long is taken for lost. */
const DOORBELL_LOST_SECONDS = 10;
const PRUNE_MS = 3_600_000;
/** How long the answer to an `Idempotency-Key` can be had again. */
const RESPONSES_KEPT_HOURS = 24;
/** How long a hand-over that is over stays on record. */
const JOBS_KEPT_HOURS = 7 * 24;
const PRUNE_BATCH = 1_000;

const sweep = statement<{ run_id: string; hand_over: number; reason: string }>(
  "sweep_runs",
  "select * from sweep_runs($1 * interval '1 second', $2)",
);

/** Puts every stranded run back among the pending; answers them. */
export async function sweepOnce(services: Pick<Services, "db" | "log">): Promise<number> {
  const rows = await services.db.query(sweep, [DOORBELL_LOST_SECONDS, 500]);
  for (const row of rows) {
    services.log.warn(
      { runId: idOf("run", row.run_id), handOver: row.hand_over, reason: row.reason },
      "run rung again",
    );
  }
  return rows.length;
}

const pruneResponses = statement<{ pruned: number }>(
  "prune_idempotency_keys",
  "select prune_idempotency_keys($1 * interval '1 hour', $2) as pruned",
);
const pruneJobs = statement<{ pruned: number }>(
  "prune_jobs",
  "select prune_jobs($1 * interval '1 hour', $2) as pruned",
);

/** Forgets saved responses that are older than a day and hand-overs of last week, in batches; answers how many. */
export async function pruneOnce(services: Pick<Services, "db">): Promise<{ responses: number; jobs: number }> {
  return {
    responses: await pruneAll(services, pruneResponses, RESPONSES_KEPT_HOURS),
    jobs: await pruneAll(services, pruneJobs, JOBS_KEPT_HOURS),
  };
}

async function pruneAll(services: Pick<Services, "db">, prune: typeof pruneJobs, keptHours: number): Promise<number> {
  let all = 0;
  for (;;) {
    const [row] = await services.db.query(prune, [keptHours, PRUNE_BATCH]);
    all += row?.pruned ?? 0;
    if ((row?.pruned ?? 0) < PRUNE_BATCH) return all;
  }
}

const prepare = statement("ensure_partitions", "select ensure_event_partitions_ahead()");

export function startDispatcher(services: Pick<Services, "db" | "bus" | "log">, worker: BacklogWorker): Backlog {
  const { log } = services;
  const backlog = serveBacklog(services, worker);
  const tasks = [
    ...QUEUE_CLASSES.map((queueClass) =>
      repeat(log, TELL_MS, async () => {
        while (await tellWaiting(services, queueClass));
      }),
    ),
    repeat(log, SWEEP_MS, async () => {
      if ((await sweepOnce(services)) > 0) backlog.look();
    }),
    repeat(log, PRUNE_MS, async () => void (await pruneOnce(services))),
    repeat(log, PARTITIONS_MS, async () => void (await services.db.query(prepare, []))),
  ];
  return {
    look: backlog.look,
    ended: backlog.ended,
    async stop() {
      await Promise.all([backlog.stop(), ...tasks.map((task) => task.stop())]);
    },
  };
}
