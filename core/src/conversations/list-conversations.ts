import type { Conversation, Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { CONVERSATION_COLUMNS, toConversation, type ConversationRow } from "./conversation-row.ts";
import { visitorUuid } from "./get-conversation.ts";

const ofTenant = statement<ConversationRow>(
  "conversations_of_tenant",
  `select ${CONVERSATION_COLUMNS} from conversations c join conversation_heads h on h.conversation_id = c.id
   where c.tenant_id = $1 and c.id < $2 order by c.id desc limit $3`,
);

const ofVisitor = statement<ConversationRow>(
  "conversations_of_visitor",
  `select ${CONVERSATION_COLUMNS} from conversations c join conversation_heads h on h.conversation_id = c.id
   where c.visitor_id = $1 and c.id < $2 order by c.id desc limit $3`,
);

/** The tenant's conversations, or a visitor's own, newest first. */
export async function listConversations(ctx: Ctx, page: PageRequest): Promise<Page<Conversation>> {
  const cursor = cursorUuid("conv", page.cursor);
  const visitor = visitorUuid(ctx);
  const rows = await transact(ctx, (tx) =>
    tx.query(visitor === null ? ofTenant : ofVisitor, [visitor ?? uuidOf(ctx.tenantId), cursor, page.limit + 1]),
  );
  return pageOf(rows, page, toConversation);
}
