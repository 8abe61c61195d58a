import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { keepAnOwner, lockMember } from "./lock-member.ts";
import { toMember } from "./member-row.ts";

const remove = statement("member_remove", "delete from members where id = $1");

/** Removes a member, or withdraws an invitation; their account stays. Throws `conflict` for the last owner. */
export async function removeMember(ctx: Ctx, memberId: string): Promise<void> {
  await transact(ctx, async (tx) => {
    const member = await lockMember(ctx, tx, memberId);
    await keepAnOwner(ctx, tx, member);
    await tx.query(remove, [member.id]);
    const before = toMember(member);
    const target = { kind: "member", id: before.id };
    await audit(ctx, tx, { action: "member.removed", target, before: { ...before } });
  });
}
