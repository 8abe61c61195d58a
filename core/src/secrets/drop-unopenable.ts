import { audit } from "../audit/audit.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { masterKeyIds } from "./master-keys.ts";
import { sealedTenants } from "./sealed-tenants.ts";

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
  for await (const tenantId of sealedTenants(services)) {
    const ctx: Ctx = { services, tenantId, actor: { kind: "worker" }, correlationId: "rotate-secrets" };
    const tenant = uuidOf(tenantId);
    dropped += await inTenant(services.db, tenantId, async (tx) => {
      const secrets = await tx.query(dropSecrets, [tenant, known]);
      const dataKeys = await tx.query(dropDataKeys, [tenant, known]);
      if (dataKeys.length === 0) return 0;
      await tx.query(dropProviderKeys, [tenant]);
      const target = { kind: "tenant", id: tenantId };
      await audit(ctx, tx, { action: "data_key.dropped", target, before: { dropped: secrets.length } });
      return secrets.length;
    });
  }
  return dropped;
}
