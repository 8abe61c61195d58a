import type { Message } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { parseId } from "../ids.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { operatorName } from "./operator-name.ts";
import { storeMessage } from "./store-message.ts";

export interface SendOperatorMessage {
  conversationId: string;
  text: string;
  /** The sender's own id for this message: sending it again answers the same. */
  clientMessageId?: string | undefined;
  name?: string | undefined;
}

/** What a person of the team says to the visitor, in a conversation that they have. The same id says it once. */
export async function sendOperatorMessage(ctx: Ctx, input: SendOperatorMessage): Promise<Message> {
  const id = parseId("conv", input.conversationId, "conversation");
  const { text, clientMessageId = null } = input;
  return transact(ctx, async (tx) => {
    const held = await lockConversation(ctx, tx, id, clientMessageId);
    if (held.known) {
      const { message } = held.known;
      if (message.role === "assistant" && message.text === text) return message;
      throw new ProblemError(
        "idempotency_mismatch",
        "This clientMessageId was used for another message. Use a new one for a new message.",
      );
    }
    if (held.mode !== "operator") {
      throw new ProblemError("conflict", "The agent has this conversation. Take it over first, then write.");
    }
    const name = await operatorName(ctx, tx, input.name);
    const message = await storeMessage(ctx, tx, { conversationId: id, clientMessageId, role: "assistant", text, name });
    const target = { kind: "conversation", id };
    // Who wrote when; what they wrote is in the conversation's log, where it can be erased.
    await audit(ctx, tx, { action: "conversation.answered", target, after: { messageId: message.id, name } });
    return message;
  });
}
