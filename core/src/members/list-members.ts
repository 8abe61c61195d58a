import type { Member } from "@agent-engine/protocol/administration.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { MEMBER_COLUMNS, toMember, type MemberRow } from "./member-row.ts";

const list = statement<MemberRow>(
  "members_list",
  `select ${MEMBER_COLUMNS} from members
   where tenant_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`,
);

/** The tenant's members and those who are invited, newest first. */
export async function listMembers(ctx: Ctx, page: PageRequest): Promise<Page<Member>> {
  const cursor = cursorId("member", page.cursor);
  return transact(ctx, async (tx) => {
    const rows = await tx.query(list, [uuidOf(ctx.tenantId), cursor && uuidOf(cursor), page.limit + 1]);
    return pageOf(rows, page, toMember);
  });
}
