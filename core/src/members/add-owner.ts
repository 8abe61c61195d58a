import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { inTenant, type Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const insert = statement(
  "member_add_owner",
  `insert into members (id, tenant_id, user_id, email, name, role, created_at, joined_at)
   values ($1, $2, $3, $4, $5, 'owner', $6, $6)`,
);

export interface NewOwner {
  tenantId: TenantId;
  user: { id: string; email: string; name: string };
}

/** Makes a person the owner of a tenant of theirs, without an invitation: they made it. */
export async function addOwner(services: Services, { tenantId, user }: NewOwner, tx?: Tx): Promise<void> {
  const now = new Date(services.clock());
  const values = [uuidOf(services.newId("member")), uuidOf(tenantId), user.id, user.email, user.name, now];
  if (tx) await tx.query(insert, values);
  else await inTenant(services.db, tenantId, (own) => own.query(insert, values));
}
