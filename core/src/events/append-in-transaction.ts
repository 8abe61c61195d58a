import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Ctx } from "../context.ts";
import type { Tx } from "../db/transaction.ts";
import { appendEventsWaiting, appendOutcomes, appendValues, type Fence, type NewEvent } from "./append.ts";

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
  if (input.events.length === 0) return [];
  const slots = [{ ...input, tenantId: ctx.tenantId }];
  const [result] = appendOutcomes(slots, await tx.query(appendEventsWaiting, appendValues(slots)));
  if (result?.outcome === "fenced") throw new LeaseLost(input.fence?.runId ?? input.conversationId);
  if (result?.outcome !== "ok") throw new Error(`conversation ${input.conversationId} has no head`);
  const { envelopes } = result;
  tx.afterCommit(() =>
    ctx.services.bus.publish({
      conversationId: input.conversationId,
      tenantId: ctx.tenantId,
      events: envelopes,
    }),
  );
  return envelopes;
}
