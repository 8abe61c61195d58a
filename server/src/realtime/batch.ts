import { firstSeq, forAudience, type Audience, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import { Frame } from "./frame.ts";

export interface Following {
  /** The events that continue a cursor, without gap or repetition. */
  events: readonly StoredEnvelope[];
  /** True when something lies beyond a gap, or across the cursor: only the log can go on. */
  gap: boolean;
}

/** The part of `events` (ascending) that continues `cursor`. Answers the very same array when that is all of it. */
export function following(events: readonly StoredEnvelope[], cursor: number): Following {
  let start = 0;
  while (start < events.length && (events[start]?.seq ?? 0) <= cursor) start++;
  let last = cursor;
  let end = start;
  for (; end < events.length; end++) {
    const event = events[end];
    if (!event || firstSeq(event) !== last + 1) break;
    last = event.seq;
  }
  const whole = start === 0 && end === events.length;
  return { events: whole ? events : events.slice(start, end), gap: end < events.length };
}

/** Sorts what arrived within one turn and merges adjacent deltas: publishers may overtake each other. */
export function coalesce(arrived: readonly (readonly StoredEnvelope[])[]): readonly StoredEnvelope[] {
  const [first = [], ...rest] = arrived;
  if (rest.length === 0) return first;
  const sorted = arrived.flat().sort((a, b) => firstSeq(a) - firstSeq(b) || a.seq - b.seq);
  return mergeAdjacent(sorted);
}

/** Builds the frames of one batch of events, one for each audience. */
export class Batch {
  readonly events: readonly StoredEnvelope[];
  readonly #conversationId: string;
  readonly #frames: Partial<Record<Audience, Frame>> = {};

  constructor(conversationId: string, events: readonly StoredEnvelope[]) {
    this.#conversationId = conversationId;
    this.events = events;
  }

  frame(audience: Audience): Frame {
    return (this.#frames[audience] ??= new Frame(this.#conversationId, null, cut(this.events, audience)));
  }
}

/** The events as a reader may see them; what is hidden from a visitor shrinks to one envelope. */
export function cut(events: readonly StoredEnvelope[], audience: Audience) {
  const visible = events.map((event) => forAudience(event, audience));
  return audience === "all" && visible.length > 1 ? mergeAdjacent(visible) : visible;
}
