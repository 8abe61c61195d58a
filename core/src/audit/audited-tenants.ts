import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";

const page = statement<{ tenant_id: string }>("audited_tenants", "select tenant_id from audited_tenants($1, $2)");

const PAGE = 500;

/** Every tenant that has an audit log, or the end of one. */
export async function* auditedTenants(services: Pick<Services, "db">): AsyncGenerator<TenantId> {
  for (let after: string | null = null; ;) {
    const rows: { tenant_id: string }[] = await services.db.query(page, [after, PAGE]);
    for (const { tenant_id } of rows) yield idOf("tenant", tenant_id);
    after = rows.at(-1)?.tenant_id ?? null;
    if (after === null) return;
  }
}
