import type { Conversation } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { CONVERSATION_COLUMNS, toConversation, type ConversationRow } from "./conversation-row.ts";

const byId = statement<ConversationRow>(
  "conversation_by_id",
  `select ${CONVERSATION_COLUMNS} from conversations c join conversation_heads h on h.conversation_id = c.id
   where c.id = $1 and ($2::uuid is null or c.visitor_id = $2)`,
);

/** One conversation. A visitor sees only their own; anything else is `not_found`. */
export async function getConversation(ctx: Ctx, id: string): Promise<Conversation> {
  const conversationId = parseId("conv", id, "conversation");
  const [row] = await transact(ctx, (tx) => tx.query(byId, [uuidOf(conversationId), visitorUuid(ctx)]));
  if (!row) throw notFound("conversation");
  return toConversation(row);
}

/** The visitor whose conversations the actor is limited to; null for staff. */
export function visitorUuid(ctx: Ctx): string | null {
  return ctx.actor.kind === "visitor" ? uuidOf(ctx.actor.visitorId) : null;
}
