import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { v7 } from "uuid";
import type { ServiceTimes } from "./service-times.ts";

/** A worker whose last heartbeat is older than this has lost all its leases. Judged by the database's clock. */
export const LEASE_MS = 3_000;
export const HEARTBEAT_MS = 1_000;

const beat = statement(
  "worker_beat",
  `insert into workers (id, slots, active, expires_at, background_slots, background_active, tenant_runs, served_priority, served_standard)
     values ($1, $2, $3, now() + $4 * interval '1 millisecond', $5, $6, $7, $8, $9)
   on conflict (id) do update set slots = $2, active = $3, expires_at = excluded.expires_at, background_slots = $5,
     background_active = $6, tenant_runs = $7, served_priority = $8, served_standard = $9,
     held_since = case when workers.expires_at <= now() then now() else workers.held_since end`,
);
const leave = statement("worker_leave", "delete from workers where id = $1");
// Long enough for whoever takes over to see that its worker died.
const prune = statement("workers_prune", "delete from workers where expires_at < now() - interval '1 day'");

export interface WorkerLease {
  readonly uuid: string;
  /** Whether the last heartbeat that the database confirmed is recent enough, by the monotonic clock. */
  isHeld(): boolean;
  /** Whether this worker has left for good. Until then heartbeats may go on, however long they stood still. */
  hasEnded(): boolean;
  /** Says now what the next heartbeat would say in up to a second, if it is another answer to whether there is room. */
  report(): void;
  stop(): Promise<void>;
}

export interface RegisterWorker {
  /** Runs it can execute at once. */
  slots: number;
  active: () => number;
  /** Of these, those that background runs may hold and do hold; by default all may. */
  background?: { slots: number; active: () => number };
  /** The cap of tenants that have none of their own; null for none. */
  tenantRuns?: number | null;
  served?: ServiceTimes;
}

/**
 * Registers a worker and keeps its heartbeat. The lease ends on this side before it ends on the database's: time is
 * counted from before the heartbeat was sent, on a clock that a change of the system's time does not move.
 */
export async function registerWorker(
  services: Pick<Services, "db" | "log">,
  options: RegisterWorker,
): Promise<WorkerLease> {
  const uuid = v7();
  let heldUntil = 0;
  let hasEnded = false;
  const { slots, background, tenantRuns = null, served } = options;
  let told = "";
  /** Which classes have room. */
  const room = () => `${options.active() < slots} ${!background || background.active() < background.slots}`;
  async function heartbeat(): Promise<void> {
    const sentAt = performance.now();
    told = room();
    await services.db.queryApart(beat, [
      uuid,
      slots,
      options.active(),
      LEASE_MS,
      background?.slots ?? null,
      background?.active() ?? 0,
      tenantRuns,
      served?.priority ?? [],
      served?.standard ?? [],
    ]);
    heldUntil = sentAt + LEASE_MS;
  }
  await heartbeat();
  await services.db.query(prune, []);
  let isBeating = false;
  function beatSoon(): void {
    if (isBeating || hasEnded) return;
    isBeating = true;
    heartbeat()
      .catch((error: unknown) => services.log.warn({ err: error }, "heartbeat failed"))
      .finally(() => (isBeating = false));
  }
  const timer = setInterval(beatSoon, HEARTBEAT_MS);
  return {
    uuid,
    isHeld: () => performance.now() < heldUntil,
    hasEnded: () => hasEnded,
    report() {
      if (room() !== told) beatSoon();
    },
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
