/** What the fake model does in answer to one request: plain data, so that it also travels inside a message as JSON. */

export interface ModelScript {
  /** Wait before the response's headers, in milliseconds. */
  firstTokenDelayMs?: number;
  /** Time between tokens, in milliseconds; 0 writes them as fast as the reader takes them. */
  gapMs?: number;
  steps: readonly ModelStep[];
}

export type ModelStep =
  /** `count` numbered words: `token0 token1 …`. */
  | { kind: "tokens"; count: number }
  /** `count` tokens that carry the time they were written: see `stamps.ts`. */
  | { kind: "stamps"; count: number }
  /** A text, one token a word. */
  | { kind: "text"; text: string }
  /** Exactly one delta, however large. */
  | { kind: "delta"; content: string }
  /** A tool call streamed in `fragments` pieces of its arguments (default 3). A string is sent as it is, valid JSON or not. */
  | { kind: "toolCall"; name: string; arguments: unknown; id?: string; fragments?: number }
  /** Overrides the finish reason, which is `tool_calls` after a tool call and else `stop`. */
  | { kind: "finish"; reason: string }
  | { kind: "wait"; ms: number }
  /** Goes on once the request is released (`RecordedRequest.release`): an answer that stands still for as long as a test looks at it. */
  | { kind: "hold" }
  | FaultStep;

export type FaultStep =
  /** Answers with this instead of a stream; only as the first step. A missing body is OpenAI's error object. */
  | { kind: "status"; status: number; headers?: Record<string, string>; body?: unknown }
  /** Destroys the socket once everything before it is written (as the first step: before any header); `reset` sends an RST, which may overtake the data. */
  | { kind: "cut"; reset?: boolean }
  /** Keeps the connection open and never sends again. */
  | { kind: "stall" }
  /** Ends the response cleanly without a finish reason, usage or `[DONE]`. */
  | { kind: "end" }
  /** Bytes put into the stream as they are. */
  | { kind: "raw"; text: string }
  /** An error object where a chunk should be, then a clean end. */
  | { kind: "error"; message: string; code?: string; type?: string }
  /** A character outside the BMP whose surrogates arrive in two deltas. */
  | { kind: "splitPair"; character: string }
  /** One delta whose bytes are written one by one, so that reads cut its characters. */
  | { kind: "splitBytes"; content: string };

/** The words of a text, each with the blank that follows it: their concatenation is the text. */
export function splitTokens(text: string): string[] {
  return text.match(/\S+\s*|\s+/g) ?? [];
}

const numbered: string[] = [];

/** JSON of the numbered words, computed once: the fast path of benchmarks. */
export function numberedTokenJson(index: number): string {
  for (let i = numbered.length; i <= index; i++) numbered.push(JSON.stringify(`token${i} `));
  return numbered[index] as string;
}

/** The text that `count` numbered tokens add up to. */
export function numberedText(count: number): string {
  return Array.from({ length: count }, (_, index) => `token${index} `).join("");
}
