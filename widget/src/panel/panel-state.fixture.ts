/** States for tests, folded from events as the client folds them. */
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";

export const RUN = "run_1";

/** A client whose log holds `events`, all of `RUN`. */
export function clientState(events: ConversationEvent[], patch: Partial<ClientState> = {}): ClientState {
  const log = events.map((event, index): Envelope => ({
    seq: index + 1,
    conversationId: "conv_1",
    runId: RUN,
    at: "2026-01-01T00:00:00.000Z",
    correlationId: "c",
    event,
  }));
  return {
    conversationId: "conv_1",
    conversation: reduce(initialState, log),
    isLoaded: true,
    outbox: [],
    connection: { status: "live" },
    hint: null,
    error: null,
    ...patch,
  };
}

export const asked = (text: string): ConversationEvent[] => [
  { type: "TEXT_MESSAGE_START", messageId: "msg_q", role: "user" },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_q", delta: text },
  { type: "TEXT_MESSAGE_END", messageId: "msg_q" },
];

export const started: ConversationEvent = { type: "RUN_STARTED", threadId: "conv_1", runId: RUN };

export const answering = (text: string): ConversationEvent[] => [
  { type: "TEXT_MESSAGE_START", messageId: "msg_a", role: "assistant" },
  { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_a", delta: text },
];

export const answered: ConversationEvent = { type: "TEXT_MESSAGE_END", messageId: "msg_a" };

export const finished = (
  outcome: Extract<ConversationEvent, { type: "RUN_FINISHED" }>["outcome"],
  finishReason: "stop" | "limit" = "stop",
): ConversationEvent => ({
  type: "RUN_FINISHED",
  threadId: "conv_1",
  runId: RUN,
  outcome,
  result: { finishReason },
});
