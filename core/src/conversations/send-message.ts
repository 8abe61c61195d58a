import type { SentMessage } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { parseId } from "../ids.ts";
import { submitMessage } from "../runs/submit-run.ts";

export interface SendMessage {
  conversationId: string;
  /** The sender's own id for this message: sending it again answers the same. */
  clientMessageId: string;
  text: string;
}

/** Takes a visitor's message and starts the run that answers it, in one transaction. A person's turn needs no run. */
export async function sendMessage(ctx: Ctx, input: SendMessage): Promise<SentMessage> {
  const conversationId = parseId("conv", input.conversationId, "conversation");
  return submitMessage(ctx, { ...input, conversationId });
}
