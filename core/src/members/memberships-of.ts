import type { Role } from "@agent-engine/protocol/administration.ts";
import type { MemberId, TenantId, UserId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";

const select = statement<{ tenant_id: string; member_id: string; role: Role }>(
  "memberships_of",
  "select tenant_id, member_id, role from memberships_of($1)",
);

/** Where a person is a member, whatever tenant asks: for what concerns all of them. */
export async function membershipsOf(
  { db }: Pick<Services, "db">,
  userId: UserId,
): Promise<{ tenantId: TenantId; memberId: MemberId; role: Role }[]> {
  const rows = await db.query(select, [userId]);
  return rows.map(({ tenant_id, member_id, role }) => ({
    tenantId: idOf("tenant", tenant_id),
    memberId: idOf("member", member_id),
    role,
  }));
}
