import { audit } from "../audit/audit.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { idOf } from "../ids.ts";
import { masterKeyIds } from "./master-keys.ts";

const BATCH = 100;

const tenants = statement<{ tenant_id: string }>(
  "tenants_with_data_keys",
  "select tenant_id from tenants_with_data_keys($1, $2)",
);

const dropSecrets = statement<{ id: string }>(
  "secrets_drop_unopenable",
  `delete from secrets s using data_keys k
   where k.id = s.data_key_id and k.tenant_id = $1 and k.master_key_id <> all ($2::text[]) returning s.id`,
);
const dropDataKeys = statement<{ id: string }>(
  "data_keys_drop_unopenable",
  "delete from data_keys where tenant_id = $1 and master_key_id <> all ($2::text[]) returning id",
);
const dropProviderKeys = statement(
  "provider_keys_drop_unopenable",
  `delete from provider_keys p where p.tenant_id = $1
     and not exists (select 1 from secrets s where s.tenant_id = p.tenant_id and s.owner_id = p.id)`,
);

/**
 * For when a master key is lost for good: deletes what only it could open. Tools that used such a credential are left
 * out of runs until it is given anew. Answers how many secrets are gone.
 */
export async function dropUnopenable(services: Services): Promise<number> {
  const known = masterKeyIds(services.secrets);
  let dropped = 0;
  for (let after: string | null = null; ;) {
    const rows: { tenant_id: string }[] = await services.db.query(tenants, [after, BATCH]);
    for (const { tenant_id } of rows) {
      const tenantId = idOf("tenant", tenant_id);
      const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "rotate-secrets" };
      dropped += await inTenant(services.db, tenantId, async (tx) => {
        const secrets = await tx.query(dropSecrets, [tenant_id, known]);
        const dataKeys = await tx.query(dropDataKeys, [tenant_id, known]);
        if (dataKeys.length === 0) return 0;
        await tx.query(dropProviderKeys, [tenant_id]);
        const target = { kind: "tenant", id: tenantId };
        await audit(ctx, tx, { action: "data_key.dropped", target, before: { dropped: secrets.length } });
        return secrets.length;
      });
    }
    after = rows.at(-1)?.tenant_id ?? null;
    if (after === null) return dropped;
  }
}
