import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { ConversationChange } from "@agent-engine/protocol/realtime.ts";
import type { PublishedBatch } from "./bus.ts";

/** What a batch changes of its conversation as lists show it; null where it only goes on with what was begun. */
export function changeOf({ conversationId, events }: PublishedBatch): ConversationChange | null {
  const last = events.at(-1);
  return last && events.some(({ event }) => isNews(event)) ? { id: conversationId, lastSeq: last.seq } : null;
}

function isNews(event: ConversationEvent): boolean {
  switch (event.type) {
    case "TEXT_MESSAGE_END":
    case "RUN_STARTED":
    case "RUN_FINISHED":
    case "RUN_ERROR":
      return true;
    case "CUSTOM":
      return event.name === "conversation.mode" || event.name === "run.queued" || event.name === "run.resumed";
    default:
      return false;
  }
}
