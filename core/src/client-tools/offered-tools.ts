import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import type { ClientTool } from "./client-tool.ts";

export interface OfferedTool extends ClientTool {
  /** The one page that executes it. */
  pageId: string;
}

const offered = statement<{ page_id: string; tools: ClientTool[] }>(
  "client_tools_offered",
  `select page_id, tools from client_tools where conversation_id = $1 and expires_at > $2
   order by created_at desc, page_id`,
);

/** What the pages offer on which this conversation is open now. Of two that offer the same name the newer one counts. */
export async function offeredTools(ctx: Ctx, conversationId: string): Promise<OfferedTool[]> {
  const values = [uuidOf(conversationId), new Date(ctx.services.clock())];
  const pages = await transact(ctx, (tx) => tx.query(offered, values));
  const byName = new Map<string, OfferedTool>();
  for (const { page_id: pageId, tools } of pages) {
    for (const tool of tools) if (!byName.has(tool.name)) byName.set(tool.name, { ...tool, pageId });
  }
  return [...byName.values()];
}
