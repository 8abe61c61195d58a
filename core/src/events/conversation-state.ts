import { forAudience, type Audience } from "@agent-engine/protocol/envelope.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import type { Ctx } from "../context.ts";
import { readAllEvents } from "./read-events.ts";

/** Folds a conversation's log, up to an event when `at` is given, as this audience sees it. */
export async function conversationState(
  ctx: Pick<Ctx, "services" | "tenantId">,
  input: { conversationId: string; at?: number },
  reader: Audience,
): Promise<ConversationState> {
  let state = initialState;
  const range = {
    conversationId: input.conversationId,
    after: 0,
    ...(input.at === undefined ? {} : { upTo: input.at }),
  };
  for await (const page of readAllEvents(ctx, range)) {
    state = reduce(
      state,
      page.map((envelope) => forAudience(envelope, reader)),
    );
  }
  return state;
}
