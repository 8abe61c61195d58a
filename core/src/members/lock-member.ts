import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { MEMBER_COLUMNS, type MemberRow } from "./member-row.ts";
import { hasEverything } from "./permissions.ts";

// One change of a tenant's members at a time: two owners who demote each other at once must not both succeed. Inserts
// that refer to the tenant are not held up by it.
const lockTenant = statement("members_lock", "select 1 from tenants where id = $1 for no key update");

const find = statement<MemberRow>("member_find", `select ${MEMBER_COLUMNS} from members where id = $1 for update`);

const otherOwners = statement<{ count: number }>(
  "members_other_owners",
  "select count(*)::int as count from members where tenant_id = $1 and role = 'owner' and user_id is not null and id <> $2",
);

/** The member, locked together with the tenant's other members. An owner is changed by those who have everything only. */
export async function lockMember(ctx: Ctx, tx: Tx, memberId: string): Promise<MemberRow> {
  const id = parseId("member", memberId, "member");
  await tx.query(lockTenant, [uuidOf(ctx.tenantId)]);
  const [row] = await tx.query(find, [uuidOf(id)]);
  if (!row) throw notFound("member");
  if (row.role === "owner" && !hasEverything(ctx.actor)) {
    throw new ProblemError("forbidden", "Only an owner may change or remove an owner.");
  }
  return row;
}

/** Throws `conflict` when nobody would be left who may do everything. The members must be locked. */
export async function keepAnOwner(ctx: Ctx, tx: Tx, leaving: MemberRow): Promise<void> {
  if (leaving.role !== "owner" || leaving.user_id === null) return;
  const [others] = await tx.query(otherOwners, [uuidOf(ctx.tenantId), leaving.id]);
  if (others && others.count > 0) return;
  throw new ProblemError("conflict", "This is the tenant's last owner. Make somebody else an owner first.");
}
