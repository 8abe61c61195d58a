/**
 * The provider for installations without any key. It is no language model and never claims to be one: it searches the
 * tenant's documents and quotes them. To the engine it looks like any other model: its first turn calls the search,
 * its second answers from the result. The same conversation always gets the same answer.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { answerFrom, ASK_A_QUESTION, noKnowledge } from "./answer.ts";
import { KNOWLEDGE_SEARCH, questionOf, searchResult } from "./question.ts";
import { smallTalk, type Persona } from "./small-talk.ts";

export interface ExtractivePace {
  /** Between two words; 0 writes them as fast as they are read. */
  wordMs: number;
}

/** Fast, and still seen to be streaming. */
const DEFAULT_PACE: ExtractivePace = { wordMs: 12 };

type Turn = { kind: "search"; query: string } | { kind: "say"; text: string };

export function extractiveModel(pace: ExtractivePace = DEFAULT_PACE): Pick<LanguageModelV4, "modelId" | "doStream"> {
  return {
    modelId: "extractive",
    doStream: (options) => Promise.resolve({ stream: streamOf(takeTurn(options), pace, options.abortSignal) }),
  };
}

/** Exported for tests: what the next turn is, without its pace. */
export function takeTurn(
  options: Pick<LanguageModelV4CallOptions, "prompt" | "tools" | "toolChoice" | "providerOptions">,
): Turn {
  const persona = personaOf(options.providerOptions);
  const question = questionOf(options.prompt);
  const result = searchResult(options.prompt);
  if (result !== null) return { kind: "say", text: answerFrom(question, result, persona) };
  const chat = smallTalk(question.text, persona);
  if (chat !== null) return { kind: "say", text: chat };
  if (question.words.length + question.context.length === 0) return { kind: "say", text: ASK_A_QUESTION };
  const mayCall = options.toolChoice?.type !== "none";
  const canSearch = mayCall && options.tools?.some((tool) => tool.name === KNOWLEDGE_SEARCH) === true;
  if (!canSearch) return { kind: "say", text: noKnowledge(persona) };
  return { kind: "search", query: question.query };
}

function personaOf(providerOptions: LanguageModelV4CallOptions["providerOptions"]): Persona {
  const ours = providerOptions?.agentEngine;
  const name = typeof ours?.agentName === "string" ? ours.agentName : "the assistant";
  const suggestions = Array.isArray(ours?.suggestions) ? ours.suggestions : [];
  return { name, suggestions: suggestions.filter((suggestion) => typeof suggestion === "string") };
}

function streamOf(
  turn: Turn,
  pace: ExtractivePace,
  signal: AbortSignal | undefined,
): ReadableStream<LanguageModelV4StreamPart> {
  const parts = partsOf(turn);
  return new ReadableStream<LanguageModelV4StreamPart>(
    {
      async pull(controller) {
        const { value: part, done } = parts.next();
        if (done) return controller.close();
        if (part.type === "text-delta" && pace.wordMs > 0)
          await delay(pace.wordMs, undefined, signal ? { signal } : {});
        signal?.throwIfAborted();
        controller.enqueue(part);
      },
    },
    { highWaterMark: 0 },
  );
}

function* partsOf(turn: Turn): Generator<LanguageModelV4StreamPart, undefined> {
  yield { type: "stream-start", warnings: [] };
  if (turn.kind === "search") {
    const input = JSON.stringify({ query: turn.query });
    yield { type: "tool-input-start", id: "search", toolName: KNOWLEDGE_SEARCH };
    yield { type: "tool-input-delta", id: "search", delta: input };
    yield { type: "tool-input-end", id: "search" };
    yield { type: "tool-call", toolCallId: "search", toolName: KNOWLEDGE_SEARCH, input };
  } else {
    yield { type: "text-start", id: "text" };
    for (const [word] of turn.text.matchAll(/\S+\s*/g)) yield { type: "text-delta", id: "text", delta: word };
    yield { type: "text-end", id: "text" };
  }
  const unified = turn.kind === "search" ? "tool-calls" : "stop";
  yield { type: "finish", finishReason: { unified, raw: undefined }, usage: NO_TOKENS };
  return undefined;
}

const NO_TOKENS = {
  inputTokens: { total: 0, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
  outputTokens: { total: 0, text: undefined, reasoning: undefined },
};
