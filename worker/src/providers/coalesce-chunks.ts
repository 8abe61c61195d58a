/**
 * Makes one chunk of the text deltas that arrive together in an OpenAI-compatible event stream, before the SDK takes
 * each of them through its five streams, a schema and a promise (about 10 µs a token). When tokens come faster than
 * they are read, or many runs share the process, most arrive together; alone, a delta passes as it came.
 *
 * Only chunks that hold nothing but text of one choice are merged; anything else passes byte for byte, in order. The
 * text is never decoded: a delta's JSON is cut at its content and the contents are put side by side.
 */

const START = "data: ";
const CONTENT = '"content":"';

/** A chunk around its content, as the server writes it: the next one usually differs in nothing else. */
interface Shape {
  prefix: string;
  suffix: string;
  /** Chunks with the same key continue one text. */
  key: string;
}

export function coalescingFetch(fetch: typeof globalThis.fetch): typeof globalThis.fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    const isStream = response.headers.get("content-type")?.includes("text/event-stream") === true;
    if (!response.ok || !response.body || !isStream) return response;
    const { status, statusText, headers } = response;
    return new Response(coalesceChunks(response.body), { status, statusText, headers: new Headers([...headers]) });
  };
}

/** Merges only what arrives in one read, so nothing waits for what may come later. */
export function coalesceChunks(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  const merger = new ChunkMerger();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (;;) {
          const { done, value } = await reader.read();
          const text = done ? merger.end(decoder.decode()) : merger.take(decoder.decode(value, { stream: true }));
          if (text !== "") controller.enqueue(encoder.encode(text));
          if (done) return controller.close();
          if (text !== "") return;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

class ChunkMerger {
  #rest = "";
  #output = "";
  /** Text not yet written: its first chunk's shape and the contents so far. */
  #pending: { shape: Shape; content: string } | null = null;
  #shape: Shape | null = null;

  /** Takes what one read brought and gives back what can be passed on. */
  take(text: string): string {
    const buffer = this.#rest === "" ? text : this.#rest + text;
    let from = 0;
    for (;;) {
      const end = buffer.indexOf("\n\n", from);
      if (end < 0) break;
      this.#event(buffer.slice(from, end));
      from = end + 2;
    }
    this.#rest = buffer.slice(from);
    return this.#flush();
  }

  end(text: string): string {
    return this.take(text) + this.#rest;
  }

  #flush(): string {
    this.#writePending();
    const output = this.#output;
    this.#output = "";
    return output;
  }

  #event(event: string): void {
    const known = this.#shape === null ? null : contentOf(event, this.#shape);
    if (known !== null && this.#shape !== null) return this.#text(this.#shape, known);
    const chunk = textChunk(event);
    if (chunk === null) {
      this.#writePending();
      this.#output += `${event}\n\n`;
      return;
    }
    this.#shape = chunk.shape;
    this.#text(chunk.shape, chunk.content);
  }

  #text(shape: Shape, content: string): void {
    if (this.#pending?.shape.key === shape.key) {
      this.#pending.content += content;
      return;
    }
    this.#writePending();
    this.#pending = { shape, content };
  }

  #writePending(): void {
    if (this.#pending === null) return;
    const { shape, content } = this.#pending;
    this.#output += `${shape.prefix}${content}${shape.suffix}\n\n`;
    this.#pending = null;
  }
}

/** The content of an event of this shape, as JSON writes it, or null. With quotes or escapes it is not looked into. */
function contentOf(event: string, shape: Shape): string | null {
  const { prefix, suffix } = shape;
  const length = event.length - prefix.length - suffix.length;
  if (length <= 0 || !event.startsWith(prefix) || !event.endsWith(suffix)) return null;
  const content = event.slice(prefix.length, prefix.length + length);
  return content.includes('"') || content.includes("\\") ? null : content;
}

/** An event that holds nothing but some text, cut at its content; null for any other. */
function textChunk(event: string): { shape: Shape; content: string } | null {
  if (!event.startsWith(START) || event.includes("\n") || event.includes("\r")) return null;
  const at = event.indexOf(CONTENT);
  if (at < 0) return null;
  try {
    const chunk = JSON.parse(event.slice(START.length)) as Record<string, unknown>;
    const text = onlyText(chunk);
    if (text === null) return null;
    const from = at + CONTENT.length;
    const to = closingQuote(event, from);
    const content = event.slice(from, to);
    // Guards against a `"content":"` that stands somewhere else.
    if (JSON.parse(`"${content}"`) !== text) return null;
    return { shape: { prefix: event.slice(0, from), suffix: event.slice(to), key: String(chunk.id) }, content };
  } catch {
    return null;
  }
}

function closingQuote(event: string, from: number): number {
  for (let at = from; at < event.length; at++) {
    const character = event[at];
    if (character === "\\") at++;
    else if (character === '"') return at;
  }
  return event.length;
}

/** The text of a chunk that says nothing else: no role, no reason to finish, no usage, no error. */
function onlyText(chunk: Record<string, unknown>): string | null {
  const { choices } = chunk;
  if (!Array.isArray(choices) || choices.length !== 1 || chunk.error !== undefined || chunk.usage != null) return null;
  const choice = choices[0] as Record<string, unknown>;
  if (choice.finish_reason != null || choice.logprobs != null || (choice.index ?? 0) !== 0) return null;
  const delta = choice.delta as Record<string, unknown> | null | undefined;
  if (!delta || Object.keys(delta).length !== 1 || typeof delta.content !== "string" || delta.content === "")
    return null;
  return delta.content;
}
