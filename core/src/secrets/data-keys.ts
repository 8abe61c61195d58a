import { randomBytes } from "node:crypto";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { unwrapDataKey, wrapDataKey } from "./master-keys.ts";
import type { SealingKey } from "./sealed.ts";

export interface DataKeyRow {
  data_key_id: string;
  wrapped: Buffer;
}

// Shared with others who seal; whoever retires the key waits for them, so that no value is left behind under it.
const inUse = statement<DataKeyRow>(
  "data_key_in_use",
  "select id as data_key_id, wrapped from data_keys where tenant_id = $1 and retired_at is null for share",
);

const insert = statement(
  "data_key_insert",
  `insert into data_keys (id, tenant_id, wrapped, master_key_id) values ($1, $2, $3, $4)
   on conflict (tenant_id) where retired_at is null do nothing`,
);

/** The key that seals the tenant's values now; the first use makes it. */
export async function dataKeyInUse(ctx: Ctx, tx: Tx): Promise<SealingKey> {
  const [known] = await tx.query(inUse, [uuidOf(ctx.tenantId)]);
  if (known) return openDataKey(ctx, known);
  await makeDataKey(ctx, tx);
  // Somebody else may have been quicker: the key that is there counts.
  const [made] = await tx.query(inUse, [uuidOf(ctx.tenantId)]);
  if (!made) throw new Error("the tenant's data key was not stored");
  return openDataKey(ctx, made);
}

/** Makes the tenant's next data key, unless there is one in use. */
export async function makeDataKey(ctx: Ctx, tx: Tx): Promise<void> {
  const dataKey = uuidOf(ctx.services.newId("datakey"));
  const tenant = uuidOf(ctx.tenantId);
  const { wrapped, masterKeyId } = wrapDataKey(ctx.services.secrets, { tenant, dataKey }, randomBytes(32));
  await tx.query(insert, [dataKey, tenant, wrapped, masterKeyId]);
}

/**
 * Opens a data key. They are not kept: a value is always read together with its key, and unwrapping one takes some
 * microseconds. @throws MasterKeyMissing, CannotOpen
 */
export function openDataKey(
  { services, tenantId }: { services: Pick<Ctx["services"], "secrets">; tenantId: TenantId },
  row: DataKeyRow,
): SealingKey {
  const dataKey = row.data_key_id.replaceAll("-", "");
  const key = unwrapDataKey(services.secrets, { tenant: uuidOf(tenantId), dataKey }, row.wrapped);
  return { id: Buffer.from(dataKey, "hex"), key };
}
