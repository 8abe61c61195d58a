import type { TenantId, UserId } from "@agent-engine/protocol/ids.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx, Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const insert = statement(
  "member_add_owner",
  `insert into members (id, tenant_id, user_id, email, name, role, created_at, joined_at)
   values ($1, $2, $3, $4, $5, 'owner', $6, $6)`,
);

export interface NewOwner {
  tenantId: TenantId;
  user: { id: UserId; email: string; name: string };
  correlationId: string;
  ip?: string | undefined;
  /** They made the tenant, in this transaction: that is put on record first, in their name. */
  made?: { name: string };
}

/** Makes a person the owner of a tenant of theirs, without an invitation: they made it. */
export async function addOwner(services: Services, owner: NewOwner, within?: Tx): Promise<void> {
  const { tenantId, user, correlationId, ip, made } = owner;
  const memberId = services.newId("member");
  const ctx: Ctx = {
    services,
    tenantId,
    actor: { kind: "member", memberId, userId: user.id, role: "owner" },
    correlationId,
    ...(ip === undefined ? {} : { ip }),
    ...(within ? { tx: within } : {}),
  };
  await transact(ctx, async (tx) => {
    const now = new Date(services.clock());
    await tx.query(insert, [uuidOf(memberId), uuidOf(tenantId), user.id, user.email, user.name, now]);
    if (made) await audit(ctx, tx, { action: "tenant.created", target: { kind: "tenant", id: tenantId }, after: made });
    const after = { email: user.email, role: "owner" };
    await audit(ctx, tx, { action: "member.joined", target: { kind: "member", id: memberId }, after });
  });
}
