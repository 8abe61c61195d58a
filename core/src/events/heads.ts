import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf, uuidOf } from "../ids.ts";

const heads = statement<{ conversation_id: string; last_seq: string }>("heads_of", "select * from heads_of($1)");

/** The last seq of many conversations in one query, across tenants: a hub repairs its readers with it. */
export async function headsOf(
  services: Pick<Services, "db">,
  conversationIds: readonly string[],
): Promise<Map<string, number>> {
  if (conversationIds.length === 0) return new Map();
  const rows = await services.db.query(heads, [conversationIds.map(uuidOf)]);
  return new Map(rows.map((row) => [idOf("conv", row.conversation_id), Number(row.last_seq)]));
}
