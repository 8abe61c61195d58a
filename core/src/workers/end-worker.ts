import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";

const end = statement(
  "worker_end",
  "update workers set expires_at = least(expires_at, now()), ended_as = $2 where id = $1",
);

/** A worker died and somebody saw how: its runs need not wait for its heartbeat to run out, and learn the reason. */
export async function endWorker(services: Pick<Services, "db">, workerUuid: string, reason: string): Promise<void> {
  await services.db.query(end, [workerUuid, reason]);
}
