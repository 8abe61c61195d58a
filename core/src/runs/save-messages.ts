import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const insert = statement(
  "messages_insert",
  `insert into messages (id, tenant_id, conversation_id, run_id, role, text)
   select t.id, $1, $2, $3, 'assistant', t.text from unnest($4::uuid[], $5::text[]) as t (id, text)
   on conflict (id) do nothing`,
);

/** Keeps the assistant's messages of a run as rows: the projection that lists and search read. Empty ones are left out. */
export async function saveMessages(
  tx: Tx,
  run: { tenantId: string; conversationId: string; runId: string },
  texts: ReadonlyMap<string, string>,
): Promise<void> {
  const said = [...texts].filter(([, text]) => text !== "");
  if (said.length === 0) return;
  await tx.query(insert, [
    uuidOf(run.tenantId),
    uuidOf(run.conversationId),
    uuidOf(run.runId),
    said.map(([id]) => uuidOf(id)),
    said.map(([, text]) => cleanText(text)),
  ]);
}
