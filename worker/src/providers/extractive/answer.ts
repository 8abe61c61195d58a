/** The words of an answer: quotations with their numbers, or an honest "I do not know". */
import { numberedSources } from "../../engine/tool-outcome.ts";
import { bestPassages, type Passage } from "./passage.ts";
import type { Question } from "./question.ts";
import { examples, type Persona } from "./small-talk.ts";

/** From here on a passage is taken for the answer. */
const ANSWERS = 0.55;
/** From here on a passage is worth showing, with a caution: sooner when its document is about the topic. */
const RELATED = 0.5;
const RELATED_ON_TOPIC = 0.28;
/** A second passage is added when it is nearly as good as the first. */
const NEARLY = 0.8;

/** @param result of the search, as the engine gives it to models */
export function answerFrom(question: Question, result: string, persona: Persona): string {
  const sources = numberedSources(result);
  if (sources.length === 0 && !result.startsWith('{"sources":[')) {
    return "I am sorry, I could not look that up just now. Please try again in a moment.";
  }
  const [best, ...others] = bestPassages(question, sources);
  if (!best || !isRelated(best))
    return notKnown(
      persona,
      sources.map((source) => source.title),
    );
  const isAnswer = best.relevance >= ANSWERS;
  const second = isAnswer && question.words.length > 1 ? others.find((other) => addsTo(best, other)) : undefined;
  const opening = isAnswer
    ? "Here is what I found"
    : "I am not sure this answers your question, but it is the closest I found";
  const paragraphs = [`${opening} in “${best.source.title}”: ${quoted(best)}`];
  if (second) paragraphs.push(`${also(best, second)}: ${quoted(second)}`);
  return paragraphs.join("\n\n");
}

/** When there are no documents to search. */
export function noKnowledge(persona: Persona): string {
  return (
    "I am sorry, I have no documents to look that up in, and I only answer from documents. " +
    `Please contact the team directly.${examples(persona)}`
  );
}

export const ASK_A_QUESTION = "I did not catch a question. Could you write it in a few words?";

function notKnown(persona: Persona, titles: readonly string[]): string {
  const sorry = "I am sorry, I could not find anything about that in this site's documents.";
  const hint = examples(persona);
  if (hint !== "") return `${sorry}${hint}`;
  const topics = [...new Set(titles)].slice(0, 3);
  if (topics.length > 0) return `${sorry} I do have information on: ${topics.join(", ")}.`;
  return `${sorry} Could you put it in other words?`;
}

function isRelated({ relevance, isOnTopic }: Passage): boolean {
  return relevance >= (isOnTopic ? RELATED_ON_TOPIC : RELATED);
}

function addsTo(best: Passage, other: Passage): boolean {
  if (other.relevance < best.relevance * NEARLY || other.covered < best.covered * NEARLY) return false;
  return !best.quote.includes(other.quote) && !other.quote.includes(best.quote);
}

function also(best: Passage, second: Passage): string {
  return best.source.documentId === second.source.documentId ? "It also says" : `“${second.source.title}” adds`;
}

function quoted(passage: Passage): string {
  return `“${passage.quote}” [${passage.source.number}]`;
}
