/** Which source a number in an answer's text means. */
import type { Citation } from "@agent-engine/protocol/events.ts";

const MARKER = /\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\](?!\()/g;

/** The distinct numbers of a text's citation marks, in order of appearance. */
export function citedNumbers(text: string): number[] {
  const marks = [...text.matchAll(MARKER)].flatMap(([, numbers = ""]) => numbers.split(",").map(Number));
  return [...new Set(marks)];
}

/**
 * The index of the citation that a number stands for; -1 when that cannot be known. Citations come in the order in which
 * the text first names them, so the two lists must agree in length.
 */
export function citationIndex(number: number, text: string, citations: readonly Citation[]): number {
  const numbers = citedNumbers(text);
  return numbers.length === citations.length ? numbers.indexOf(number) : -1;
}
