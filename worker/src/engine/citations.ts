import type { Citation } from "@agent-engine/protocol/events.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { numberedSources, type NumberedSource } from "./tool-outcome.ts";

/** `[2]`, `[1, 3]`; not the text of a link. */
const MARKER = /\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()/g;

/**
 * The sources that a run's text may cite. Numbers begin at 1 in each run; a number this run has not given means the
 * newest earlier run that gave it, so that a follow-up answered from memory still cites.
 */
export class SourceBook {
  #current = new Map<number, NumberedSource>();
  #earlier = new Map<number, NumberedSource>();
  #next = 1;

  /** Reads what the conversation has so far; `givesSources` says whether a tool's results may be read for sources. */
  constructor(history: ConversationState, runId: string, givesSources: (toolName: string) => boolean) {
    for (const call of history.toolCalls) {
      if (!givesSources(call.name)) continue;
      if (call.runId === runId) this.add(call.result);
      else for (const source of numberedSources(call.result)) this.#earlier.set(source.number, source);
    }
  }

  /** The number the next result's first source gets. */
  get nextNumber(): number {
    return this.#next;
  }

  /** Takes the sources of a result of this run. */
  add(result: string | null): void {
    for (const source of numberedSources(result)) {
      this.#current.set(source.number, source);
      this.#next = Math.max(this.#next, source.number + 1);
    }
  }

  /** The citations of a text in order of appearance, each source once; numbers without a source are left alone. */
  citationsIn(messageId: string, text: string): Citation[] {
    if (this.#current.size === 0 && this.#earlier.size === 0) return [];
    const cited = new Map<number, NumberedSource>();
    for (const [, numbers = ""] of text.matchAll(MARKER)) {
      for (const number of numbers.split(",").map(Number)) {
        const source = this.#current.get(number) ?? this.#earlier.get(number);
        if (source) cited.set(number, source);
      }
    }
    return [...cited].map(([number, { documentId, title, url, quote }]) => ({
      messageId,
      number,
      documentId,
      title,
      url,
      quote,
    }));
  }
}
