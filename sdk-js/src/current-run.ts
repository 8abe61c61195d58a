import type { ConversationState, RunState } from "@agent-engine/protocol/state.ts";

/** The run a person waits for: the oldest that has not ended, as those behind it wait for it too; null when nothing is going on. */
export function currentRun(conversation: ConversationState): RunState | null {
  return Object.values(conversation.runs).find((run) => !("finishedAt" in run)) ?? null;
}
