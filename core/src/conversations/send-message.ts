import type { Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { parseId } from "../ids.ts";
import { submitRun } from "../runs/submit-run.ts";

export interface SendMessage {
  conversationId: string;
  /** The sender's own id for this message: sending it again answers the same. */
  clientMessageId: string;
  text: string;
}

/** Takes a visitor's message and starts the run that answers it, in one transaction. */
export async function sendMessage(ctx: Ctx, input: SendMessage): Promise<Submission> {
  const conversationId = parseId("conv", input.conversationId, "conversation");
  return submitRun(ctx, { ...input, conversationId });
}
