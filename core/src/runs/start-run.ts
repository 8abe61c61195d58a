import type { QueueClass, Submission } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { insertConversation } from "../conversations/create-conversation.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { transact } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { parseId } from "../ids.ts";
import { submitRun } from "./submit-run.ts";

export interface StartRun {
  agentId: string;
  input: string;
  /** A new conversation by default. */
  conversationId?: string;
  queueClass?: QueueClass;
}

/** A partner's run: in a conversation of its own, or as the next message of an existing one. */
export async function startRun(ctx: Ctx, input: StartRun): Promise<Submission> {
  const agentId = parseId("agent", input.agentId, "agent");
  return transact(ctx, async (tx) => {
    const inTx = { ...ctx, tx };
    const conversation =
      input.conversationId === undefined
        ? await insertConversation(ctx, tx, agentId)
        : await getConversation(inTx, input.conversationId);
    if (conversation.agentId !== agentId) {
      throw new ProblemError("invalid_request", "`conversationId` belongs to another agent. Leave one of the two out.");
    }
    return submitRun(inTx, {
      conversationId: conversation.id,
      text: input.input,
      clientMessageId: null,
      ...(input.queueClass === undefined ? {} : { queueClass: input.queueClass }),
    });
  });
}
