/** A plain reader of server-sent events over fetch: what the HTML standard's parser does, and resuming by id. */

export interface SseMessage {
  /** The last id seen in the stream so far, as `Last-Event-ID` would send it; null before the first. */
  id: string | null;
  event: string;
  data: string;
}

/** Yields the messages of a response; ends when the stream ends and throws when it breaks. */
export async function* readSse(response: Response): AsyncGenerator<SseMessage> {
  if (!response.body) return;
  let id: string | null = null;
  let event = "";
  let data: string[] = [];
  let rest = "";
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    // A CR at the end may be half of a CRLF: it waits for what follows.
    const lines = (rest + text).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { id, event: event || "message", data: data.join("\n") };
        event = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "data") data.push(value);
      else if (field === "event") event = value;
      else if (field === "id" && !value.includes("\u0000")) id = value;
    }
  }
}

export interface FollowOptions {
  headers?: Record<string, string>;
  /** Where to begin: sent as `Last-Event-ID`. */
  lastEventId?: string;
  /** Ends the reading. */
  signal: AbortSignal;
  /** Wait before connecting again; default 50 ms. */
  retryMs?: number;
}

/**
 * Yields the messages of a stream and connects again with `Last-Event-ID` whenever it breaks or ends, until the
 * signal aborts. A 4xx answer is an error: it would not get better.
 */
export async function* followSse(url: string, options: FollowOptions): AsyncGenerator<SseMessage> {
  const { headers = {}, signal, retryMs = 50 } = options;
  let lastEventId = options.lastEventId ?? null;
  while (!signal.aborted) {
    try {
      const response = await fetch(url, {
        headers: {
          accept: "text/event-stream",
          ...headers,
          ...(lastEventId === null ? {} : { "last-event-id": lastEventId }),
        },
        signal,
      });
      if (response.status >= 400 && response.status < 500)
        throw new RefusedError(response.status, await response.text());
      if (response.ok) {
        for await (const message of readSse(response)) {
          lastEventId = message.id ?? lastEventId;
          yield message;
        }
      }
    } catch (error) {
      if (error instanceof RefusedError) throw error;
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

/** The server does not want this stream to be read. */
export class RefusedError extends Error {
  readonly status: number;
  constructor(status: number, body: string) {
    super(`the stream was refused with ${status}: ${body}`);
    this.status = status;
  }
}
