/** Which source a number in an answer's text means, and the number a visitor sees for it. */
import type { Citation } from "@agent-engine/protocol/events.ts";

const MARKER = /\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()/g;

/** The number shown for a mark `[n]`: sources count up in the order in which the text first names them. */
export function shownNumber(number: number, text: string): number {
  const named = [...text.matchAll(MARKER)].flatMap(([, numbers = ""]) => numbers.split(",").map(Number));
  return [...new Set(named)].indexOf(number) + 1 || number;
}

/** The index of the citation that a mark `[n]` stands for; -1 when the answer names a number without a source. */
export function citationIndex(number: number, citations: readonly Citation[]): number {
  return citations.findIndex((citation) => citation.number === number);
}
