import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const select = statement<{ rate_limits: unknown }>(
  "tenant_rate_limits",
  "select rate_limits from tenants where id = $1",
);

/** What an operator gave the tenant in place of everybody's limits, unchecked; null when nothing. */
export async function readRateLimits(services: Pick<Services, "db">, tenantId: TenantId): Promise<unknown> {
  const [row] = await inTenant(services.db, tenantId, (tx) => tx.query(select, [uuidOf(tenantId)]));
  return row?.rate_limits ?? null;
}
