/** Words of a question or a passage, reduced so that "Returns?" and "returned" meet. English, deliberately simple. */

import { SYNONYMS } from "@agent-engine/core/knowledge/synonyms.ts";

const STOP_WORDS = new Set(
  (
    "a an and are as at be been but by can could did do does for from get give had has have he her here him his how i " +
    "if in into is it its just let like may me might more much my no not of on or our out please she should so some " +
    "tell than that the their them then there these they this those to up us want was we were what when where which " +
    "who whom why will with would you your yours about any also am im ive id long many need know find there's what's something " +
    "buy anything everything nothing thing things someone anyone take takes took ever really actually"
  ).split(" "),
);

const WORD = /[\p{L}\p{N}]+(?:['’][\p{L}]+)?/gu;

/** The words that carry meaning, each once, in order, as they were written but in lower case. */
export function meaningfulWords(text: string): string[] {
  return [...new Set(allWords(text).filter((word) => !STOP_WORDS.has(word)))];
}

/** The words that carry meaning, reduced, each once, in order. */
export function contentWords(text: string): string[] {
  return [...new Set(meaningfulWords(text).map(stem))];
}

export function allWords(text: string): string[] {
  return (text.toLowerCase().match(WORD) ?? []).map((word) => word.replace(/['’]s$/, "").replaceAll("’", "'"));
}

function stem(word: string): string {
  if (word.length <= 3) return word;
  return word
    .replace(/(?<=[^aeiou]{1}|..)ies$/, "y")
    .replace(/(sses|shes|ches|xes)$/, (ending) => ending.slice(0, -2))
    .replace(/(?<=..[^s])s$/, "")
    .replace(/(?<=...)(ing|ed)$/, "")
    .replace(/(?<=...)([b-df-hj-np-tv-z])\1$/, "$1")
    .replace(/(?<=...)e$/, "")
    .replace(/^un(?=....)/, "");
}

/** The share of `wanted` that `text` holds, 0..1; 0 when nothing is wanted. Words match when one begins the other. */
export function coverage(wanted: readonly string[], text: string): number {
  if (wanted.length === 0) return 0;
  const present = contentWords(text);
  const found = wanted.filter((word) => present.some((other) => matches(word, other)));
  return found.length / wanted.length;
}

const synonyms = SYNONYMS.map((line) => new Set(line.split(" ").map(stem)));

function matches(a: string, b: string): boolean {
  if (a === b || synonyms.some((words) => words.has(a) && words.has(b))) return true;
  const [short, long] = a.length < b.length ? [a, b] : [b, a];
  return short.length >= 4 && long.startsWith(short) && long.length - short.length <= 4;
}
