import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const release = statement(
  "lease_release",
  `update runs set worker_id = null, attempt = attempt - case when $3 then 1 else 0 end
   where id = $1 and worker_id = $2 and status = 'running'`,
);

export interface ReleaseLease {
  tenantId: TenantId;
  runId: string;
  workerUuid: string;
  /** The worker stops and the run is well: this was no failed attempt, however often workers are replaced. */
  isOrderly: boolean;
}

/** Gives a run back without ending it: the sweeper finds it at once and another worker goes on. */
export async function releaseLease(services: Pick<Services, "db">, input: ReleaseLease): Promise<void> {
  const { tenantId, runId, workerUuid, isOrderly } = input;
  await inTenant(services.db, tenantId, (tx) => tx.query(release, [uuidOf(runId), workerUuid, isOrderly]));
}
