import type { Ctx } from "../context.ts";
import { audit } from "../audit/audit.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { dataKeyInUse, makeDataKey } from "./data-keys.ts";
import { seal } from "./sealed.ts";
import { openSecret, sealedPlace, type SecretPlace, type SecretRow } from "./secrets.ts";

const BATCH = 100;

// Waits for everybody who is sealing under it.
const retire = statement<{ id: string }>(
  "data_key_retire",
  "update data_keys set retired_at = now() where tenant_id = $1 and retired_at is null returning id",
);

interface Placed extends SecretRow {
  purpose: string;
  owner_id: string;
  field: string;
}

const underRetired = statement<Placed>(
  "secrets_under_retired",
  `select s.id, s.sealed, s.purpose, s.owner_id, s.field, s.data_key_id, k.wrapped
   from data_keys k join secrets s on s.data_key_id = k.id
   where k.tenant_id = $1 and k.retired_at is not null limit $2 for no key update of s skip locked`,
);

const reseal = statement("secret_reseal", "update secrets set sealed = $2, data_key_id = $3 where id = $1");

const dropRetired = statement<{ id: string }>(
  "data_keys_drop",
  `delete from data_keys k where k.tenant_id = $1 and k.retired_at is not null
     and not exists (select 1 from secrets s where s.data_key_id = k.id) returning id`,
);

/**
 * Gives the tenant a new data key, seals every value anew under it in short transactions, and deletes the old one.
 * Values can be read and stored all the while; after an interruption, the next call goes on where this one stopped.
 * Answers how many values were sealed anew. Does nothing for a tenant without secrets.
 */
export async function rotateDataKey(ctx: Ctx): Promise<number> {
  const { db } = ctx.services;
  const tenant = uuidOf(ctx.tenantId);
  const isNew = await inTenant(db, ctx.tenantId, async (tx) => {
    const retired = await tx.query(retire, [tenant]);
    if (retired.length === 0) return false;
    await makeDataKey(ctx, tx);
    await audit(ctx, tx, { action: "data_key.rotated", target: { kind: "tenant", id: ctx.tenantId } });
    return true;
  });
  if (!isNew) return 0;
  let resealed = 0;
  for (;;) {
    const batch = await inTenant(db, ctx.tenantId, async (tx) => {
      const key = await dataKeyInUse(ctx, tx);
      const rows = await tx.query(underRetired, [tenant, BATCH]);
      for (const row of rows) {
        const place: SecretPlace = { purpose: row.purpose, ownerId: idOf("owner", row.owner_id), field: row.field };
        const value = openSecret(ctx, row, place);
        const sealed = seal(key, Buffer.from(value), sealedPlace(ctx.tenantId, idOf("secret", row.id), place));
        await tx.query(reseal, [row.id, sealed, key.id.toString("hex")]);
      }
      if (rows.length === 0) await tx.query(dropRetired, [tenant]);
      return rows.length;
    });
    resealed += batch;
    if (batch === 0) return resealed;
  }
}
