import type { NumberedSource } from "../../engine/tool-outcome.ts";
import type { Question } from "./question.ts";
import { coverage } from "./words.ts";

/** Longest quotation, in UTF-16 units: what fits into a chat bubble. */
const MAX_QUOTE_LENGTH = 320;

export interface Passage {
  source: NumberedSource;
  /** Whole sentences of the source, in its own words. */
  quote: string;
  /** How well the passage answers the question: 0, and 1 or a little more when everything is in it. */
  relevance: number;
  /** The share of the question's words in the quotation itself, 0..1. */
  covered: number;
  /** Its document is about a word of the question. */
  isOnTopic: boolean;
}

/** What a title that names the question's words adds. */
const TITLE_BONUS = 0.15;

const sentences = new Intl.Segmenter("en", { granularity: "sentence" });

/** The best sentences of each source, best source first. */
export function bestPassages(question: Question, sources: readonly NumberedSource[]): Passage[] {
  return sources
    .map((source) => bestPassage(question, source))
    .filter((passage) => passage !== null)
    .sort((a, b) => b.relevance - a.relevance || a.source.number - b.source.number);
}

function bestPassage(question: Question, source: NumberedSource): Passage | null {
  const parts = sentencesOf(source.quote);
  let best: { from: number; score: number } | null = null;
  for (const [index, sentence] of parts.entries()) {
    const score = scoreOf(question, sentence);
    if (!best || score > best.score) best = { from: index, score };
  }
  if (!best) return null;
  const quote = growQuote(question, parts, best.from);
  // A title often holds the very word that its text takes for granted.
  const own = scoreOf(question, `${source.title} ${quote}`);
  // The search knows which words are rare; we know which sentences were chosen.
  const found = (own + Math.min(1, Math.max(0, source.score))) / 2;
  const titled = scoreOf(question, source.title);
  const covered = scoreOf(question, quote);
  return { source, quote, covered, relevance: found + TITLE_BONUS * titled, isOnTopic: titled > 0 };
}

/** The words of the question itself count; those of the question before only tip the scale. */
function scoreOf(question: Question, text: string): number {
  const own = coverage(question.words, text);
  if (question.context.length === 0) return own;
  const context = coverage(question.context, text);
  return question.words.length === 0 ? context : 0.6 * own + 0.4 * context;
}

/** Adds the sentences after, then the one before, while they say more about the question or there is little text yet. */
function growQuote(question: Question, parts: readonly string[], from: number): string {
  let start = from;
  let end = from + 1;
  const length = () => parts.slice(start, end).join(" ").length;
  const adds = (sentence: string) =>
    scoreOf(question, [...parts.slice(start, end), sentence].join(" ")) >
    scoreOf(question, parts.slice(start, end).join(" "));
  for (;;) {
    const next = parts[end];
    if (next !== undefined && length() + next.length < MAX_QUOTE_LENGTH && (adds(next) || length() < 120)) end++;
    else break;
  }
  const previous = parts[start - 1];
  if (previous !== undefined && length() + previous.length < MAX_QUOTE_LENGTH && (adds(previous) || length() < 80))
    start--;
  return cutAtWord(parts.slice(start, end).join(" "));
}

function sentencesOf(text: string): string[] {
  const parts: string[] = [];
  for (const paragraph of text.split(/\n{2,}|\n(?=\s*[-*#•])/)) {
    const plain = plainText(paragraph);
    for (const { segment } of sentences.segment(plain)) {
      const sentence = segment.trim();
      if (sentence !== "") parts.push(sentence);
    }
  }
  return parts;
}

/** Marks of headings, lists and emphasis have no place inside a quotation. */
function plainText(paragraph: string): string {
  return paragraph
    .replace(/^\s*(#{1,6}|[-*•]|\d+\.)\s+/, "")
    .replace(/\*\*|__|`/g, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\s+/g, " ")
    .trim();
}

function cutAtWord(text: string): string {
  if (text.length <= MAX_QUOTE_LENGTH) return text;
  const cut = text.slice(0, MAX_QUOTE_LENGTH).toWellFormed();
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), MAX_QUOTE_LENGTH / 2)).replace(/[\s,;:–-]+$/, "")} …`;
}
