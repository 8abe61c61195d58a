import type { Page, Run } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { parseId, uuidOf } from "../ids.ts";
import { RUN_COLUMNS, toRun, type RunRow } from "./run-row.ts";

const ofTenant = statement<RunRow>(
  "runs_of_tenant",
  `select ${RUN_COLUMNS} from runs r
   where r.tenant_id = $1 and r.id < $2 order by r.id desc limit $3`,
);

const ofConversation = statement<RunRow>(
  "runs_of_conversation",
  `select ${RUN_COLUMNS} from runs r
   where r.conversation_id = $1 and r.id < $2 order by r.id desc limit $3`,
);

/** The tenant's runs, or one conversation's, newest first. For staff: visitors read their conversation's log. */
export async function listRuns(ctx: Ctx, page: PageRequest & { conversationId?: string }): Promise<Page<Run>> {
  const cursor = cursorUuid("run", page.cursor);
  const owner = page.conversationId === undefined ? ctx.tenantId : parseId("conv", page.conversationId, "conversation");
  const rows = await transact(ctx, (tx) =>
    tx.query(page.conversationId === undefined ? ofTenant : ofConversation, [uuidOf(owner), cursor, page.limit + 1]),
  );
  return pageOf(rows, page, (row) => toRun(row));
}
