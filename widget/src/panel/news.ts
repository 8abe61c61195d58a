/** What happened while this page was looking: told apart from the history that was there at first. */
import type { MessageState } from "@agent-engine/protocol/state.ts";
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";

export interface News {
  /** Messages that became whole. */
  messages: MessageState[];
  /** Runs whose status changed. */
  runs: { id: string; status: string }[];
}

/** Answers the news of each state it is shown, each item once. */
export function createNewsReader(): (state: ClientState) => News {
  let known: Set<string> | null = null;
  return ({ isLoaded, conversation }) => {
    const news: News = { messages: [], runs: [] };
    if (!isLoaded) return news;
    const isFirst = known === null;
    known ??= new Set();
    for (const message of conversation.messages) {
      if (message.status === "streaming" || known.has(message.id)) continue;
      known.add(message.id);
      if (!isFirst && message.text) news.messages.push(message);
    }
    for (const { id, status } of Object.values(conversation.runs)) {
      if (known.has(id + status)) continue;
      known.add(id + status);
      if (!isFirst) news.runs.push({ id, status });
    }
    return news;
  };
}
