import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Ctx } from "../context.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";
import { checkClientTools, type ClientToolProblem } from "./check-client-tools.ts";
import { PAGE_KEPT_MS, type ClientTool } from "./client-tool.ts";

export interface RegisterClientTools {
  conversationId: string;
  /** The page's own name for itself, new with each load. */
  pageId: string;
  /** All that it offers; none takes it away. */
  tools: readonly ClientTool[];
}

/** Open at once on one conversation; of more, those that came last stay. */
const MAX_PAGES = 10;

const put = statement(
  "client_tools_put",
  `insert into client_tools (conversation_id, page_id, tenant_id, tools, created_at, expires_at)
   values ($1, $2, $3, $4, $5, $6)
   on conflict (conversation_id, page_id) do update set tools = excluded.tools, expires_at = excluded.expires_at`,
);
const takeAway = statement("client_tools_take", "delete from client_tools where conversation_id = $1 and page_id = $2");
const dropOldest = statement(
  "client_tools_drop",
  `delete from client_tools where conversation_id = $1 and page_id in (
     select page_id from client_tools where conversation_id = $1 order by created_at desc, page_id offset $2)`,
);

export interface ClientToolsOffer {
  /** ISO 8601 UTC. */
  expiresAt: string;
  /** What is not offered of it, and why. */
  problems: ClientToolProblem[];
}

/**
 * A page says what it offers to the conversation, and that it is still there. Only a visitor's browser may: what it
 * answers is the visitor's word.
 *
 * @throws ProblemError `forbidden` or `not_found`
 */
export async function registerClientTools(ctx: Ctx, input: RegisterClientTools): Promise<ClientToolsOffer> {
  if (ctx.actor.kind !== "visitor") {
    // Another tenant's conversation is as unknown as one that never was.
    await getConversation(ctx, input.conversationId);
    throw new ProblemError("forbidden", "Only a visitor's page offers tools: send the visitor's token.");
  }
  const { tools, problems } = checkClientTools(input.tools);
  const now = ctx.services.clock();
  const expiresAt = new Date(now + PAGE_KEPT_MS);
  await transact(ctx, async (tx) => {
    const { id } = await getConversation({ ...ctx, tx }, input.conversationId);
    const conversation = uuidOf(id);
    const pageId = cleanText(input.pageId);
    if (tools.length === 0) return tx.query(takeAway, [conversation, pageId]);
    const values = [conversation, pageId, uuidOf(ctx.tenantId), jsonbOf(tools), new Date(now), expiresAt];
    await tx.query(put, values);
    return tx.query(dropOldest, [conversation, MAX_PAGES]);
  });
  return { expiresAt: expiresAt.toISOString(), problems };
}
