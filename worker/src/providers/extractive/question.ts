/** Finds out what the visitor asks, and what of the earlier conversation it refers to. */
import type { LanguageModelV4Message, LanguageModelV4Prompt } from "@ai-sdk/provider";
import { contentWords, meaningfulWords } from "./words.ts";
import { withoutGreeting } from "./small-talk.ts";

export const KNOWLEDGE_SEARCH = "knowledge_search";

export interface Question {
  /** What the visitor wrote last. */
  text: string;
  /** The words an answer should cover. */
  words: string[];
  /** Words of the question before, when this one only makes sense with it. */
  context: string[];
  /** What to search for: the words that carry meaning, as they were written. */
  query: string;
}

const REFERS_BACK = /\b(it|its|that|this|those|these|they|them|their|there|one|ones|same|instead|else|too)\b/i;
const CONTINUES = /^\s*(and|or|but|so|what about|how about|what if|then|why|how so)\b/i;
/** With fewer words of its own, a question that refers back needs the one before. */
const ENOUGH_WORDS = 3;

export function questionOf(prompt: LanguageModelV4Prompt): Question {
  const asked = prompt.filter((message) => message.role === "user").map((message) => inPlainWords(textOf(message)));
  const text = withoutGreeting(asked.at(-1) ?? "");
  const words = contentWords(text);
  const refersBack = CONTINUES.test(text) || REFERS_BACK.test(text);
  const isVague = words.length === 0 || (refersBack && words.length < ENOUGH_WORDS);
  const before = isVague
    ? asked
        .slice(0, -1)
        .reverse()
        .find((earlier) => contentWords(earlier).length > 0)
    : undefined;
  const context =
    before === undefined ? [] : contentWords(withoutGreeting(before)).filter((word) => !words.includes(word));
  const query = [...new Set([...meaningfulWords(text), ...meaningfulWords(withoutGreeting(before ?? ""))])];
  return { text, words, context, query: query.join(" ").slice(0, 500).toWellFormed() };
}

/** What people say in several common words, and documents in one. */
const PHRASES: readonly [said: RegExp, meant: string][] = [
  [/\b(send|give|bring)( (it|them|this|that|these|those|something|an? \w+|the \w+|my \w+))? back\b/gi, "return$2"],
  [/\bmoney back\b/gi, "refund"],
  [
    /\b(talk|speak|chat) (to|with) (an? )?(real )?(human|person|someone|somebody|people|agent|employee)\b/gi,
    "contact by phone or write",
  ],
  [/\bget in touch\b/gi, "contact"],
  [/\bhow much (is|are|do|does|would|will|for)\b/gi, "what cost $1"],
];

function inPlainWords(text: string): string {
  return PHRASES.reduce((plain, [said, meant]) => plain.replace(said, meant), text);
}

/** The result of this turn's search, or null when it has not been made yet. */
export function searchResult(prompt: LanguageModelV4Prompt): string | null {
  const asked = prompt.findLastIndex((message) => message.role === "user");
  for (const message of prompt.slice(asked + 1).reverse()) {
    if (message.role !== "tool") continue;
    for (const part of message.content) {
      if (part.type !== "tool-result" || part.toolName !== KNOWLEDGE_SEARCH) continue;
      return "value" in part.output && typeof part.output.value === "string" ? part.output.value : "";
    }
  }
  return null;
}

function textOf(message: LanguageModelV4Message): string {
  if (message.role === "system") return message.content;
  return message.content.map((part) => (part.type === "text" ? part.text : "")).join(" ");
}
