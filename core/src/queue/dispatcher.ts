/**
 * The dispatcher hands pending runs to the broker, fairly among tenants, and keeps the broker's own queue short; the
 * sweeper finds runs that should move and do not. Both run in every worker: Postgres lets one act at a time, and
 * acting twice does no harm.
 */
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { QUEUE_CLASSES } from "./run-queue.ts";

const DISPATCH_MS = 250;
const SWEEP_MS = 1_000;
const PARTITIONS_MS = 24 * 3_600_000;
/** A doorbell that was rung and not answered for so long is taken for lost. */
const DOORBELL_LOST_SECONDS = 10;
const BATCH = 64;
const PRUNE_MS = 3_600_000;
/** How long the answer to an `Idempotency-Key` can be had again. */
const RESPONSES_KEPT_HOURS = 24;
const PRUNE_BATCH = 1_000;

const dispatch = statement<{ run_id: string; hand_over: number; correlation_id: string }>(
  "dispatch_jobs",
  "select * from dispatch_jobs($1, $2)",
);
const sweep = statement<{ run_id: string; hand_over: number; reason: string }>(
  "sweep_runs",
  "select * from sweep_runs($1 * interval '1 second', $2)",
);

/** Hands over what waits in one class; answers how many. */
export async function dispatchOnce(services: Pick<Services, "db" | "queue">, queueClass: QueueClass): Promise<number> {
  const rows = await services.db.query(dispatch, [queueClass, BATCH]);
  await Promise.all(
    rows.map((row) =>
      services.queue.ring(queueClass, {
        runId: idOf("run", row.run_id),
        handOver: row.hand_over,
        correlationId: row.correlation_id,
      }),
    ),
  );
  return rows.length;
}

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

const prune = statement<{ pruned: number }>(
  "prune_idempotency_keys",
  "select prune_idempotency_keys($1 * interval '1 hour', $2) as pruned",
);

/** Forgets the saved responses that are older than a day; answers how many. */
export async function pruneOnce(services: Pick<Services, "db">): Promise<number> {
  let all = 0;
  for (;;) {
    const [row] = await services.db.query(prune, [RESPONSES_KEPT_HOURS, PRUNE_BATCH]);
    all += row?.pruned ?? 0;
    if ((row?.pruned ?? 0) < PRUNE_BATCH) return all;
  }
}

const prepare = statement("ensure_partitions", "select ensure_event_partitions_ahead()");

export function startDispatcher(services: Pick<Services, "db" | "queue" | "log">): Repeated {
  const { log } = services;
  const tasks = [
    repeat(log, DISPATCH_MS, async () => {
      for (const queueClass of QUEUE_CLASSES) {
        while ((await dispatchOnce(services, queueClass)) === BATCH);
      }
    }),
    repeat(log, SWEEP_MS, async () => void (await sweepOnce(services))),
    repeat(log, PRUNE_MS, async () => void (await pruneOnce(services))),
    repeat(log, PARTITIONS_MS, async () => void (await services.db.query(prepare, []))),
  ];
  return {
    async stop() {
      await Promise.all(tasks.map((task) => task.stop()));
    },
  };
}
