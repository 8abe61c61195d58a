import type { ConversationState, RunState } from "@agent-engine/protocol/state.ts";

/** The run a person waits for: the newest that is queued, running or waiting; null when nothing is going on. */
export function currentRun(conversation: ConversationState): RunState | null {
  return Object.values(conversation.runs).findLast((run) => !("finishedAt" in run)) ?? null;
}
