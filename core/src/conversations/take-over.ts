import type { Conversation } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { parseId } from "../ids.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { cancelOpenRuns, setAnswering } from "./conversation-mode.ts";
import { getConversation } from "./get-conversation.ts";
import { operatorName } from "./operator-name.ts";

export interface TakeOver {
  conversationId: string;
  /** As visitors read it; the member's own by default. */
  name?: string | undefined;
}

/**
 * A person answers from now on. Whatever the agent was doing is cancelled, so that two do not speak at once; what it had
 * said stays. Again by the same person: nothing happens. By another one: they take it from the first.
 */
export async function takeOver(ctx: Ctx, input: TakeOver): Promise<Conversation> {
  const id = parseId("conv", input.conversationId, "conversation");
  return transact(ctx, async (tx) => {
    const held = await lockConversation(ctx, tx, id);
    const operator = await operatorName(ctx, tx, input.name);
    await cancelOpenRuns(ctx, tx, held);
    const isChanged = await setAnswering(ctx, tx, held, { mode: "operator", operator });
    const conversation = await getConversation({ ...ctx, tx }, id);
    if (isChanged) {
      const target = { kind: "conversation", id };
      await audit(ctx, tx, {
        action: "conversation.taken_over",
        target,
        before: { mode: held.mode },
        after: { mode: "operator", operator },
      });
    }
    return conversation;
  });
}
