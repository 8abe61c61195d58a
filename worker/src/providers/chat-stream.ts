/**
 * Reads the event stream of OpenAI's Chat Completions, and of the many servers that speak it, into the SDK's parts.
 * The SDK's own reader takes every token through six streams, a schema and several promises: twice the work that the
 * network and the engine have with it together. This one is a loop over the bytes of a read; text that arrives
 * together becomes one part.
 */
import { JSONParseError, type LanguageModelV4FinishReason, type LanguageModelV4StreamPart } from "@ai-sdk/provider";
import { ModelStreamCut } from "../engine/model-provider.ts";
import type { PartStream } from "../engine/part-stream.ts";
import { ChatCalls, type CallDelta } from "./chat-calls.ts";

export function chatParts(body: ReadableStream<Uint8Array>): PartStream {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new ChatParser();
  let isEnded = false;
  return {
    async read() {
      while (!isEnded) {
        const { done, value } = await reader.read().catch((error: unknown) => {
          throw isAbort(error) ? error : new ModelStreamCut(error);
        });
        isEnded = done;
        const parts = done ? parser.end(decoder.decode()) : parser.take(decoder.decode(value, { stream: true }));
        if (parts.length > 0) return parts;
      }
      return null;
    },
    cancel: (reason) => reader.cancel(reason).catch(() => {}),
  };
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

interface ChatChunk {
  error?: unknown;
  usage?: ChatUsage | null;
  choices?: { delta?: ChatDelta | null; finish_reason?: string | null }[];
}

interface ChatDelta {
  content?: string | { type?: string; text?: string }[] | null;
  refusal?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
  tool_calls?: CallDelta[] | null;
}

interface ChatUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
  prompt_tokens_details?: { cached_tokens?: number } | null;
  completion_tokens_details?: { reasoning_tokens?: number } | null;
}

class ChatParser {
  #rest = "";
  #parts: LanguageModelV4StreamPart[] = [];
  /** Text of this read that is not a part yet. */
  #text = "";
  #calls = new ChatCalls();
  #finishReason: string | null = null;
  #isRefusal = false;
  #usage: ChatUsage = {};

  /** The parts in what one read brought; an event cut in two waits for its other half. */
  take(bytes: string): LanguageModelV4StreamPart[] {
    const text =
      bytes.includes("\r") || this.#rest.endsWith("\r") ? withPlainEnds(this.#rest + bytes) : this.#rest + bytes;
    let from = 0;
    for (;;) {
      const end = text.indexOf("\n\n", from);
      if (end < 0) break;
      this.#event(text.slice(from, end));
      from = end + 2;
    }
    this.#rest = text.slice(from);
    return this.#flush();
  }

  /** The last parts. Without a reason to finish there is no `finish`: the answer was cut. */
  end(bytes: string): LanguageModelV4StreamPart[] {
    const parts = this.take(`${bytes}\n\n`);
    parts.push(...this.#calls.end());
    if (this.#finishReason !== null) {
      parts.push({ type: "finish", finishReason: this.#unified(this.#finishReason), usage: usageOf(this.#usage) });
    }
    return parts;
  }

  #flush(): LanguageModelV4StreamPart[] {
    this.#writeText();
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  #event(event: string): void {
    const data = event.startsWith("data: ") && !event.includes("\n") ? event.slice(6) : dataOf(event);
    if (data === "" || data === "[DONE]") return;
    let chunk: ChatChunk;
    try {
      chunk = JSON.parse(data) as ChatChunk;
      if (typeof chunk !== "object" || chunk === null) throw new TypeError("a chunk must be an object");
    } catch (error) {
      this.#write({ type: "error", error: new JSONParseError({ text: data.slice(0, 500), cause: error }) });
      return;
    }
    this.#chunk(chunk);
  }

  #chunk(chunk: ChatChunk): void {
    if (chunk.error != null) return this.#write({ type: "error", error: chunk.error });
    if (chunk.usage != null) this.#usage = chunk.usage;
    const choice = chunk.choices?.[0];
    if (!choice) return;
    if (choice.finish_reason != null) this.#finishReason = choice.finish_reason;
    const { delta } = choice;
    if (!delta) return;
    const reasoning = delta.reasoning_content ?? delta.reasoning;
    if (reasoning) this.#write({ type: "reasoning-delta", id: "reasoning", delta: reasoning });
    if (typeof delta.content === "string") this.#text += delta.content;
    else if (delta.content) for (const part of delta.content) this.#text += part.text ?? "";
    if (delta.refusal) {
      this.#isRefusal = true;
      this.#text += delta.refusal;
    }
    if (delta.tool_calls) for (const call of delta.tool_calls) this.#write(...this.#calls.take(call));
  }

  #write(...parts: LanguageModelV4StreamPart[]): void {
    if (parts.length === 0) return;
    this.#writeText();
    this.#parts.push(...parts);
  }

  #writeText(): void {
    if (this.#text === "") return;
    this.#parts.push({ type: "text-delta", id: "text", delta: this.#text });
    this.#text = "";
  }

  #unified(raw: string): LanguageModelV4FinishReason {
    if (raw === "stop" && this.#isRefusal) return { unified: "content-filter", raw };
    return { unified: finishReasons[raw] ?? "other", raw };
  }
}

const finishReasons: Record<string, LanguageModelV4FinishReason["unified"]> = {
  stop: "stop",
  length: "length",
  content_filter: "content-filter",
  tool_calls: "tool-calls",
  function_call: "tool-calls",
};

/** The data of an event with several lines, comments or other fields. */
function dataOf(event: string): string {
  const lines = event.split("\n").filter((line) => line.startsWith("data:"));
  return lines.map((line) => line.slice(line[5] === " " ? 6 : 5)).join("\n");
}

/** Lines may end in CR LF or CR; a CR at the very end may be half of one. */
function withPlainEnds(text: string): string {
  const isCut = text.endsWith("\r");
  const whole = isCut ? text.slice(0, -1) : text;
  return whole.replace(/\r\n?/g, "\n") + (isCut ? "\r" : "");
}

function usageOf(usage: ChatUsage): Extract<LanguageModelV4StreamPart, { type: "finish" }>["usage"] {
  return {
    inputTokens: {
      total: usage.prompt_tokens,
      noCache: undefined,
      cacheRead: usage.prompt_tokens_details?.cached_tokens,
      cacheWrite: undefined,
    },
    outputTokens: {
      total: usage.completion_tokens,
      text: undefined,
      reasoning: usage.completion_tokens_details?.reasoning_tokens,
    },
  };
}
