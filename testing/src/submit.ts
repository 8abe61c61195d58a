import type { Ctx } from "@agent-engine/core/context.ts";
import { sendMessage, type SendMessage } from "@agent-engine/core/conversations/send-message.ts";
import type { Submission } from "@agent-engine/protocol/resources.ts";

/** Sends a message that a run answers. */
export async function submit(ctx: Ctx, input: SendMessage): Promise<Submission> {
  const { message, run } = await sendMessage(ctx, input);
  if (!run) throw new Error("no run answers it: a person has the conversation");
  return { message, run };
}
