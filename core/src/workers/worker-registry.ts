import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { v7 } from "uuid";

/** A worker whose last heartbeat is older than this has lost all its leases. Judged by the database's clock. */
export const LEASE_MS = 3_000;
export const HEARTBEAT_MS = 1_000;

const beat = statement(
  "worker_beat",
  `insert into workers (id, slots, active, expires_at) values ($1, $2, $3, now() + $4 * interval '1 millisecond')
   on conflict (id) do update set slots = $2, active = $3, expires_at = excluded.expires_at`,
);
const leave = statement("worker_leave", "delete from workers where id = $1");
const prune = statement("workers_prune", "delete from workers where expires_at < now() - interval '1 hour'");

export interface WorkerLease {
  readonly uuid: string;
  /** Whether the last heartbeat that the database confirmed is recent enough, by the monotonic clock. */
  isHeld(): boolean;
  /** Whether this worker has left for good. Until then heartbeats may go on, however long they stood still. */
  hasEnded(): boolean;
  stop(): Promise<void>;
}

/**
 * Registers a worker and keeps its heartbeat. The lease ends on this side before it ends on the database's: time is
 * counted from before the heartbeat was sent, on a clock that a change of the system's time does not move.
 */
export async function registerWorker(
  services: Pick<Services, "db" | "log">,
  options: { slots: number; active: () => number },
): Promise<WorkerLease> {
  const uuid = v7();
  let heldUntil = 0;
  let hasEnded = false;
  async function heartbeat(): Promise<void> {
    const sentAt = performance.now();
    await services.db.queryApart(beat, [uuid, options.slots, options.active(), LEASE_MS]);
    heldUntil = sentAt + LEASE_MS;
  }
  await heartbeat();
  await services.db.query(prune, []);
  let isBeating = false;
  const timer = setInterval(() => {
    if (isBeating) return;
    isBeating = true;
    heartbeat()
      .catch((error: unknown) => services.log.warn({ err: error }, "heartbeat failed"))
      .finally(() => (isBeating = false));
  }, HEARTBEAT_MS);
  return {
    uuid,
    isHeld: () => performance.now() < heldUntil,
    hasEnded: () => hasEnded,
    async stop() {
      clearInterval(timer);
      hasEnded = true;
      heldUntil = 0;
      await services.db
        .query(leave, [uuid])
        .catch((error: unknown) => services.log.debug({ err: error }, "not deregistered"));
    },
  };
}
