import type { Member, Role } from "@agent-engine/protocol/administration.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { keepAnOwner, lockMember } from "./lock-member.ts";
import { MEMBER_COLUMNS, toMember, type MemberRow } from "./member-row.ts";
import { hasEverything } from "./permissions.ts";

const update = statement<MemberRow>(
  "member_change_role",
  `update members set role = $2 where id = $1 returning ${MEMBER_COLUMNS}`,
);

/** Gives a member another role; it counts from their next request. Throws `conflict` for the last owner. */
export async function changeRole(ctx: Ctx, input: { memberId: string; role: Role }): Promise<Member> {
  return transact(ctx, async (tx) => {
    const member = await lockMember(ctx, tx, input.memberId);
    if (input.role === "owner" && !hasEverything(ctx.actor)) {
      throw new ProblemError("forbidden", "Only an owner may make somebody an owner.");
    }
    if (input.role !== "owner") await keepAnOwner(ctx, tx, member);
    const [row] = await tx.query(update, [member.id, input.role]);
    if (!row) throw notFound("member");
    const [before, after] = [{ role: member.role }, { role: row.role }];
    const target = { kind: "member", id: toMember(row).id };
    await audit(ctx, tx, { action: "member.role_changed", target, before, after });
    return toMember(row);
  });
}
