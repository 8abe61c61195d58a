import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Ctx } from "../context.ts";
import type { Tx } from "../db/transaction.ts";
import {
  appendToConversation,
  appendToConversationValues,
  toEnvelopes,
  type Appended,
  type Fence,
  type NewEvent,
} from "./append.ts";

/** The writer's lease was taken from it: it must stop, write nothing more and call no tool. */
export class LeaseLost extends Error {
  constructor(runId: string) {
    super(`the lease of ${runId} was lost`);
    this.name = "LeaseLost";
  }
}

/**
 * Appends to one conversation as part of a transaction, and publishes after its commit. Throws `LeaseLost` when
 * the fence does not hold; nothing of the transaction is kept then.
 */
export async function appendInTransaction(
  ctx: Ctx,
  tx: Tx,
  input: { conversationId: string; fence: Fence | null; events: readonly NewEvent[] },
): Promise<StoredEnvelope[]> {
  // Without events there is still the fence to hold the transaction to.
  if (input.events.length === 0 && input.fence === null) return [];
  const values = appendToConversationValues({ ...input, tenantId: ctx.tenantId });
  const [row] = await tx.query(appendToConversation, values);
  if (row?.outcome !== "ok") {
    if (input.fence) throw new LeaseLost(input.fence.runId);
    throw new Error(`conversation ${input.conversationId} has no head`);
  }
  const appended: Appended = { base: Number(row.base), at: row.at, events: input.events };
  publishAfterCommit(ctx, tx, input.conversationId, appended);
  return toEnvelopes(input.conversationId, appended);
}

/** Publishes what a statement has appended, once its transaction is committed. */
export function publishAfterCommit(ctx: Ctx, tx: Tx, conversationId: string, appended: Appended): void {
  const events = toEnvelopes(conversationId, appended);
  if (events.length === 0) return;
  tx.afterCommit(() => ctx.services.bus.publish({ conversationId, tenantId: ctx.tenantId, events }));
}
