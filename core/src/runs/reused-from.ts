import { METADATA_KEY, type Metadata } from "@agent-engine/protocol/events.ts";

/** Where the result of a fork's tool call comes from: it was not made again. */
export interface ReusedFrom {
  /** Idempotency key of the invocation that it stands for. */
  key: string;
  /** The call of the original run. */
  toolCallId: string;
  /** The result was given with the fork, in place of the recorded one. */
  isGiven?: true;
}

/** How the log says so, on the call's result. */
export function reusedMetadata({ toolCallId, isGiven }: ReusedFrom): Metadata {
  return { [METADATA_KEY]: { reusedFrom: toolCallId, ...(isGiven ? { isGiven } : {}) } };
}
