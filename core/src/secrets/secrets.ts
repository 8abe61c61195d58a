/**
 * The one place where tenants' secrets are kept: model keys, tools' credentials, signing secrets. Whatever needs one
 * stores its id; the value is sealed here under the tenant's data key, and bound to where it belongs. So rotating a key
 * touches this table and no other, and what refers to a secret never changes when it is sealed anew.
 */
import type { Id, TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";
import { dataKeyInUse, openDataKey, type DataKeyRow } from "./data-keys.ts";
import { CannotOpen, keyIdOf, open, seal } from "./sealed.ts";

export type SecretId = Id<"secret">;

/** Where a secret belongs. It opens only for who names the same place, in the same tenant, under the same id. */
export interface SecretPlace {
  /** The kind of thing it belongs to, for instance `provider_key`. */
  purpose: string;
  /** API id of that thing. */
  ownerId: string;
  /** Which of its secrets. */
  field: string;
}

const insert = statement(
  "secret_insert",
  `insert into secrets (id, tenant_id, purpose, owner_id, field, data_key_id, sealed) values ($1, $2, $3, $4, $5, $6, $7)`,
);

/** Seals a value in the transaction of what it belongs to; answers the id to store there. */
export async function keepSecret(ctx: Ctx, tx: Tx, place: SecretPlace, value: string): Promise<SecretId> {
  const id = ctx.services.newId("secret");
  const key = await dataKeyInUse(ctx, tx);
  const sealed = seal(key, Buffer.from(value), sealedPlace(ctx.tenantId, id, place));
  const { purpose, ownerId, field } = place;
  const values = [uuidOf(id), uuidOf(ctx.tenantId), purpose, uuidOf(ownerId), field, key.id.toString("hex"), sealed];
  await tx.query(insert, values);
  return id;
}

export interface SecretRow extends DataKeyRow {
  id: string;
  sealed: Buffer;
}

const byId = statement<SecretRow>(
  "secrets_by_id",
  `select s.id, s.sealed, s.data_key_id, k.wrapped from secrets s join data_keys k on k.id = s.data_key_id
   where s.id = any ($1::uuid[])`,
);

/** Opens secrets by id; those that are gone are left out. @throws MasterKeyMissing, CannotOpen */
export async function readSecrets(
  ctx: Ctx,
  tx: Tx,
  wanted: readonly (SecretPlace & { id: SecretId })[],
): Promise<Map<SecretId, string>> {
  if (wanted.length === 0) return new Map();
  const rows = await tx.query(byId, [wanted.map(({ id }) => uuidOf(id))]);
  const byUuid = new Map(rows.map((row) => [idOf("secret", row.id), row]));
  return new Map(
    wanted.flatMap(({ id, ...place }): [SecretId, string][] => {
      const row = byUuid.get(id);
      return row ? [[id, openSecret(ctx, row, place)]] : [];
    }),
  );
}

/** @throws MasterKeyMissing, CannotOpen */
export function openSecret(
  ctx: { services: Pick<Ctx["services"], "secrets">; tenantId: TenantId },
  row: SecretRow,
  place: SecretPlace,
): string {
  const id = idOf("secret", row.id);
  try {
    const key = openDataKey(ctx, row);
    if (keyIdOf(row.sealed) !== key.id.toString("hex")) throw new CannotOpen("it names another data key.");
    return open(key, row.sealed, sealedPlace(ctx.tenantId, id, place)).toString("utf8");
  } catch (error) {
    if (error instanceof CannotOpen) error.secretId = id;
    throw error;
  }
}

export function sealedPlace(tenantId: TenantId, id: SecretId, { purpose, ownerId, field }: SecretPlace): string[] {
  return ["secrets", uuidOf(tenantId), uuidOf(id), purpose, uuidOf(ownerId), field];
}

const forget = statement("secrets_forget", "delete from secrets where id = any ($1::uuid[])");
const forgetAll = statement("secrets_forget_owner", "delete from secrets where tenant_id = $1 and owner_id = $2");

export async function forgetSecrets(tx: Tx, ids: readonly SecretId[]): Promise<void> {
  if (ids.length > 0) await tx.query(forget, [ids.map(uuidOf)]);
}

/** Everything that was kept for one thing. */
export async function forgetSecretsOf(ctx: Ctx, tx: Tx, ownerId: string): Promise<void> {
  await tx.query(forgetAll, [uuidOf(ctx.tenantId), uuidOf(ownerId)]);
}
