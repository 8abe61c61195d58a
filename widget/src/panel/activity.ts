/** What is going on while the visitor waits, in a few words: a pure function of the client's state. */
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";
import { currentRun } from "@agent-engine/sdk/current-run.ts";
import { queuePlace } from "@agent-engine/sdk/queue-place.ts";
import { unsettled } from "@agent-engine/sdk/outbox.ts";
import { words } from "./words.ts";

export interface Activity {
  /** `waiting` is for a person, and may take long; `busy` moves. */
  kind: "busy" | "waiting";
  text: string;
}

const TOOLS: Record<string, string> = { knowledge_search: words.searching };

/** null when nothing is going on, or when the answer itself shows it. */
export function activityOf(state: ClientState): Activity | null {
  const { conversation, outbox } = state;
  const busy = (text: string): Activity => ({ kind: "busy", text });
  const run = currentRun(conversation);
  if (!run) {
    return unsettled(outbox, conversation).some(({ error }) => !error) ? busy(words.thinking) : null;
  }
  switch (run.status) {
    case "queued": {
      const queue = queuePlace(state);
      return busy(queue ? words.queuedFor(queue.position, queue.expectedDelayMs) : words.thinking);
    }
    case "waiting": {
      const [interrupt] = run.interrupts;
      // All decided, and it is about to go on; or the page itself is at work.
      if (!interrupt || interrupt.metadata?.["kind"] === "client_tool") return busy(words.working);
      return { kind: "waiting", text: interrupt.message ?? words.waiting };
    }
    case "running": {
      if (run.retry) return busy(words.retrying);
      const call = conversation.toolCalls.findLast(({ runId, status }) => runId === run.id && status !== "done");
      if (call) return busy(TOOLS[call.name] ?? words.working);
      const last = conversation.messages.at(-1);
      return last?.status === "streaming" && last.text ? null : busy(words.thinking);
    }
    default:
      return null;
  }
}
