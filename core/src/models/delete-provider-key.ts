import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { forgetSecretsOf } from "../secrets/secrets.ts";
import { toProviderKey, type ProviderKeyRow } from "./provider-key.ts";

const remove = statement<ProviderKeyRow>(
  "provider_key_delete",
  `delete from provider_keys where id = $1 and tenant_id = $2
   returning id, name, provider, base_url, last4, created_at`,
);

/** Forgets a key; within seconds no worker uses it any more, not even in a run under way. */
export async function deleteProviderKey(ctx: Ctx, providerKeyId: string): Promise<void> {
  const id = parseId("pkey", providerKeyId, "provider key");
  const { services, tenantId } = ctx;
  await transact(ctx, async (tx) => {
    const [row] = await tx.query(remove, [uuidOf(id), uuidOf(tenantId)]);
    if (!row) throw notFound("provider key");
    await forgetSecretsOf(ctx, tx, id);
    await audit(ctx, tx, {
      action: "provider_key.deleted",
      target: { kind: "provider_key", id },
      before: { ...toProviderKey(row) },
    });
    tx.afterCommit(() => services.bus.control.publish({ kind: "provider_keys.changed", tenantId }));
  });
}
