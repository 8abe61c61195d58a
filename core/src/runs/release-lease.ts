import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

// The head first, as every writer does. Its epoch tells this claim from a later one of the same worker.
const release = statement(
  "lease_release",
  `with held as materialized (
     select h.conversation_id from conversation_heads h
     where h.conversation_id = $4 and h.run_id = $1 and h.epoch = $5 for no key update
   )
   update runs r set worker_id = null, attempt = r.attempt - case when $3 then 1 else 0 end,
     crashes = r.crashes + case when $6::text is null then 0 else 1 end, last_crash = coalesce($6, r.last_crash)
   from held where r.conversation_id = held.conversation_id and r.id = $1 and r.worker_id = $2 and r.status = 'running'`,
);

export interface ReleaseLease {
  tenantId: TenantId;
  conversationId: string;
  runId: string;
  epoch: number;
  workerUuid: string;
  /** The worker stops and the run is well: this was no failed attempt, however often workers are replaced. */
  isOrderly: boolean;
  /** What in the run itself the worker could not cope with: counts as if it had died of it. */
  failure?: string;
}

/**
 * Gives a run back without ending it: the sweeper finds it at once and another worker goes on. Does nothing once the
 * claim of this epoch is over, so it may be tried again at any time.
 */
export async function releaseLease(services: Pick<Services, "db">, input: ReleaseLease): Promise<void> {
  const { tenantId, conversationId, runId, epoch, workerUuid, isOrderly, failure } = input;
  const values = [
    uuidOf(runId),
    workerUuid,
    isOrderly,
    uuidOf(conversationId),
    epoch,
    failure === undefined ? null : cleanText(failure),
  ];
  await inTenant(services.db, tenantId, (tx) => tx.query(release, values));
}
