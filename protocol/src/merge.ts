import { firstSeq, type Envelope } from "./envelope.ts";
import type { ConversationEvent } from "./events.ts";

/** The event that stands for `earlier` followed by `later`, or null when the two do not merge. */
export function mergeEvents(earlier: ConversationEvent, later: ConversationEvent): ConversationEvent | null {
  switch (earlier.type) {
    case "TEXT_MESSAGE_CONTENT":
    case "REASONING_MESSAGE_CONTENT":
      if (later.type !== earlier.type || later.messageId !== earlier.messageId) return null;
      return { ...earlier, delta: earlier.delta + later.delta };
    case "TOOL_CALL_ARGS":
      if (later.type !== "TOOL_CALL_ARGS" || later.toolCallId !== earlier.toolCallId) return null;
      return { ...earlier, delta: earlier.delta + later.delta };
    case "CUSTOM":
      return earlier.name === "hidden" && later.type === "CUSTOM" && later.name === "hidden" ? earlier : null;
    default:
      return null;
  }
}

/**
 * Merges adjacent deltas of one message, one call's arguments, or adjacent hidden events into one envelope
 * `from..seq`. The fold of the result equals the fold of the input.
 */
export function mergeAdjacent<E extends Envelope>(envelopes: readonly E[]): E[] {
  const merged: E[] = [];
  for (const envelope of envelopes) {
    const last = merged.at(-1);
    const event =
      last && last.seq + 1 === firstSeq(envelope) && last.runId === envelope.runId && sameAudience(last, envelope)
        ? mergeEvents(last.event, envelope.event)
        : null;
    if (last && event) merged[merged.length - 1] = { ...envelope, from: firstSeq(last), event };
    else merged.push(envelope);
  }
  return merged;
}

function sameAudience(a: Envelope, b: Envelope): boolean {
  return ("audience" in a ? a.audience : "all") === ("audience" in b ? b.audience : "all");
}
