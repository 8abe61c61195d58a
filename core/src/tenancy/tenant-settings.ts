import type { TenantSettings } from "@agent-engine/protocol/visitors.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";

interface TenantRow {
  id: string;
  name: string;
  retention_days: number | null;
}

const find = statement<TenantRow>("tenant_settings", "select id, name, retention_days from tenants where id = $1");
const lock = statement<TenantRow>(
  "tenant_settings_lock",
  "select id, name, retention_days from tenants where id = $1 for no key update",
);
const change = statement(
  "tenant_settings_change",
  "update tenants set name = $2, retention_days = $3, retention_cursor = null where id = $1",
);

function toSettings(row: TenantRow): TenantSettings {
  return { id: idOf("tenant", row.id), name: row.name, retentionDays: row.retention_days };
}

export async function getTenant(ctx: Ctx): Promise<TenantSettings> {
  const [row] = await transact(ctx, (tx) => tx.query(find, [uuidOf(ctx.tenantId)]));
  if (!row) throw notFound("tenant");
  return toSettings(row);
}

/** Replaces what it names. A shorter retention begins to delete within a minute. */
export async function updateTenant(
  ctx: Ctx,
  input: { name?: string | undefined; retentionDays?: number | null | undefined },
): Promise<TenantSettings> {
  return transact(ctx, async (tx) => {
    const [row] = await tx.query(lock, [uuidOf(ctx.tenantId)]);
    if (!row) throw notFound("tenant");
    const before = toSettings(row);
    const { name = before.name, retentionDays = before.retentionDays } = input;
    const after = { ...before, name, retentionDays };
    await tx.query(change, [row.id, name, retentionDays]);
    const target = { kind: "tenant", id: before.id };
    await audit(ctx, tx, { action: "tenant.updated", target, before: { ...before }, after: { ...after } });
    return after;
  });
}
