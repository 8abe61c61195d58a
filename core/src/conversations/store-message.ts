import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Message } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { uuidOf } from "../ids.ts";
import { toMessage, type MessageRow } from "../runs/run-row.ts";

const insert = statement<MessageRow>(
  "message_without_run",
  `insert into messages (id, tenant_id, conversation_id, client_message_id, role, text) values ($1, $2, $3, $4, $5, $6)
   returning id, conversation_id, client_message_id, role, text, created_at`,
);

export interface StoreMessage {
  /** Held by the caller. */
  conversationId: string;
  clientMessageId: string | null;
  role: Message["role"];
  text: string;
  /** Who speaks, where it is a person of the team. */
  name?: string;
}

/** A message that no run answers or has written: it is in the log and on record, and that is all. */
export async function storeMessage(ctx: Ctx, tx: Tx, input: StoreMessage): Promise<Message> {
  const { conversationId, clientMessageId, role, name } = input;
  const { services, tenantId, correlationId } = ctx;
  const messageId = services.newId("msg");
  const text = cleanText(input.text);
  const [row] = await tx.query(insert, [
    uuidOf(messageId),
    uuidOf(tenantId),
    uuidOf(conversationId),
    clientMessageId,
    role,
    text,
  ]);
  if (!row) throw new Error("the message was not stored");
  const events = [
    { type: "TEXT_MESSAGE_START", messageId, role, ...(name === undefined ? {} : { name }) },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
    { type: "TEXT_MESSAGE_END", messageId },
  ] as const;
  await appendInTransaction(ctx, tx, {
    conversationId,
    fence: null,
    events: events.map((event) => ({ event, runId: null, audience: "all", correlationId })),
  });
  return toMessage(row);
}
