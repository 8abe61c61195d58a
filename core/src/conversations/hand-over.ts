import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { lockConversation } from "../runs/lock-conversation.ts";
import { cancelOpenRuns, setAnswering } from "./conversation-mode.ts";

/**
 * An agent gives the conversation to the team. Its run goes on to say so; messages that wait behind it are for a person
 * now, so their runs are cancelled. Once more: nothing happens.
 */
export async function handOver(ctx: Ctx, { conversationId, runId }: HandOver): Promise<{ handedOver: true }> {
  return transact(ctx, async (tx) => {
    const held = await lockConversation(ctx, tx, conversationId);
    if (held.mode === "operator") return { handedOver: true };
    if (held.activeRun?.id !== runId) throw new ProblemError("conflict", "The run is over, so it hands nothing over.");
    await cancelOpenRuns(ctx, tx, held, runId);
    await setAnswering(ctx, tx, held, { mode: "operator", operator: null });
    return { handedOver: true };
  });
}

export interface HandOver {
  conversationId: string;
  runId: string;
}
