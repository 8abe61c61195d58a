import type { QueuePlace } from "@agent-engine/protocol/state.ts";
import type { ClientState } from "./conversation-client.ts";
import { currentRun } from "./current-run.ts";

/**
 * Where the run that a person waits for is in line, 1 being next, and how long it may take: the newest hint, else what
 * the log says. Null when it does not wait for a place, or for so short a time that nothing was said of it.
 */
export function queuePlace({ conversation, hint }: Pick<ClientState, "conversation" | "hint">): QueuePlace | null {
  const run = currentRun(conversation);
  if (run?.status !== "queued") return null;
  return hint?.runId === run.id ? (hint.value as unknown as QueuePlace) : run.queue;
}
