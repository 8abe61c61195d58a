import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const release = statement(
  "lease_release",
  "update runs set worker_id = null where id = $1 and worker_id = $2 and status = 'running'",
);

/** Gives a run back without ending it: the sweeper finds it at once and another worker goes on. */
export async function releaseLease(
  services: Pick<Services, "db">,
  input: { tenantId: TenantId; runId: string; workerUuid: string },
): Promise<void> {
  await inTenant(services.db, input.tenantId, (tx) => tx.query(release, [uuidOf(input.runId), input.workerUuid]));
}
