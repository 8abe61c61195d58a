import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const nameOf = statement<{ name: string | null }>("member_name", "select name from members where id = $1");

const TEAM = "The team";

/** The name by which visitors know who writes: the given one, or the member's. Never an e-mail address. */
export async function operatorName(ctx: Ctx, tx: Tx, given: string | undefined): Promise<string> {
  if (given !== undefined) return given;
  if (ctx.actor.kind !== "member") return TEAM;
  const [member] = await tx.query(nameOf, [uuidOf(ctx.actor.memberId)]);
  return member?.name?.trim() || TEAM;
}
