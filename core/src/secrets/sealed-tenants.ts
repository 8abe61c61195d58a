import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";

const page = statement<{ tenant_id: string }>(
  "tenants_with_data_keys",
  "select tenant_id from tenants_with_data_keys($1, $2)",
);

const PAGE = 100;

/** Every tenant that has a data key. */
export async function* sealedTenants(services: Pick<Services, "db">): AsyncGenerator<TenantId> {
  for (let after: string | null = null; ;) {
    const rows: { tenant_id: string }[] = await services.db.query(page, [after, PAGE]);
    for (const { tenant_id } of rows) yield idOf("tenant", tenant_id);
    after = rows.at(-1)?.tenant_id ?? null;
    if (after === null) return;
  }
}
