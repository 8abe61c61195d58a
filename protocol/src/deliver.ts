import { firstSeq, type Envelope } from "./envelope.ts";
import { reduce } from "./reduce.ts";
import type { ConversationState } from "./state.ts";

export interface Delivery {
  state: ConversationState;
  /** True when something was missing or overlapped: fetch everything after `state.lastSeq`. */
  gap: boolean;
}

/**
 * Applies a delivery that may repeat, overlap or miss events: takes what follows the cursor, drops what is known,
 * and says when the reader must refetch. A refetch (`after = lastSeq`) always makes progress.
 */
export function deliver(state: ConversationState, envelopes: readonly Envelope[]): Delivery {
  const next: Envelope[] = [];
  let last = state.lastSeq;
  let gap = false;
  for (const envelope of envelopes) {
    if (envelope.seq <= last) continue;
    if (firstSeq(envelope) !== last + 1) {
      gap = true;
      continue;
    }
    next.push(envelope);
    last = envelope.seq;
  }
  return { state: reduce(state, next), gap };
}
