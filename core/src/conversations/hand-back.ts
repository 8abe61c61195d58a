import type { Conversation } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { parseId } from "../ids.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { setAnswering } from "./conversation-mode.ts";
import { getConversation } from "./get-conversation.ts";

/** The agent answers again, from the next message on; it reads what was said meanwhile. Nothing is answered by this alone. */
export async function handBack(ctx: Ctx, conversationId: string): Promise<Conversation> {
  const id = parseId("conv", conversationId, "conversation");
  return transact(ctx, async (tx) => {
    const held = await lockConversation(ctx, tx, id);
    const isChanged = await setAnswering(ctx, tx, held, { mode: "agent" });
    const conversation = await getConversation({ ...ctx, tx }, id);
    if (isChanged) {
      const target = { kind: "conversation", id };
      await audit(ctx, tx, {
        action: "conversation.handed_back",
        target,
        before: { mode: held.mode },
        after: { mode: "agent" },
      });
    }
    return conversation;
  });
}
