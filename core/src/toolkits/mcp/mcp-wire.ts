/**
 * What carries a session's HTTP requests. It adds the credentials, follows no redirect, reads no message that is larger
 * than it may be, and says when the connection that an answer should have come by is gone: the SDK would wait for good.
 */
import type { Egress } from "../../net/egress.ts";
import { McpAnswerTooLarge, McpConnectionLost, McpHttpError } from "./mcp-failure.ts";

/** A message, with the pictures and files in it. */
const MAX_MESSAGE_BYTES = 5_000_000;
const MAX_ERROR_BYTES = 4_000;
/** What was read just before the end still has to get through the parser. */
const SETTLE_MS = 20;

/** In `_meta` of a call that changes something: the same for every attempt of it. */
export const IDEMPOTENCY_META = "agentengine.dev/idempotency-key";

export type RequestId = string | number;

export interface WireOptions {
  egress: Egress;
  /** Sent with every request; never to another origin. */
  headers: Record<string, string>;
  origin: string;
  /** The session's end. */
  signal: AbortSignal;
  /** The old transport: one stream brings every answer. */
  isSse: boolean;
  /** Whether a stream for what the server says unasked is worth a connection. */
  wantsStream: () => boolean;
  /** Ends a request whose answer will not come. */
  fail: (id: RequestId, error: Error) => void;
}

export interface Wire {
  fetch: (input: string | URL, init?: RequestInit) => Promise<Response>;
  /** To be told of every message that was read. */
  received: (message: unknown) => void;
  /** Why the old transport's stream could not be opened: an EventSource keeps it for itself. */
  problem: () => unknown;
}

export function createWire(options: WireOptions): Wire {
  const { egress, signal, isSse } = options;
  const awaited = new Set<RequestId>();
  let unreadBytes = 0;
  let hasStream = false;
  let streamProblem: unknown = null;

  function lose(ids: Iterable<RequestId>): void {
    const lost = [...ids];
    const timer = setTimeout(() => {
      for (const id of lost) if (awaited.delete(id)) options.fail(id, new McpConnectionLost());
    }, SETTLE_MS);
    timer.unref();
  }

  /** `carries`: which answers the body brings. */
  function watched(response: Response, carries: () => Iterable<RequestId>): Response {
    const isStream = /^text\/event-stream\b/i.test(response.headers.get("content-type") ?? "");
    const headers = [...response.headers].filter(([name]) => !/^content-(encoding|length)$/i.test(name));
    const { status } = response;
    if (!response.body) return new Response(null, { status, headers });
    let tail = "";
    let canResume = false;
    const reader = response.body.getReader();
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        try {
          const { value, done } = await reader.read();
          if (done) {
            if (isStream && !canResume) lose(carries());
            return controller.close();
          }
          unreadBytes += value.byteLength;
          if (unreadBytes > MAX_MESSAGE_BYTES) throw new McpAnswerTooLarge(MAX_MESSAGE_BYTES);
          if (isStream && !isSse && !canResume) {
            const text = tail + Buffer.from(value).toString("latin1");
            canResume = /(^|[\r\n])id:/.test(text);
            tail = text.slice(-3);
          }
          controller.enqueue(value);
        } catch (error) {
          void reader.cancel().catch(() => {});
          if (error instanceof McpAnswerTooLarge) {
            for (const id of carries()) if (awaited.delete(id)) options.fail(id, error);
          }
          if (isStream && !canResume) lose(carries());
          controller.error(error);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, { status, headers });
  }

  async function fetch(input: string | URL, init: RequestInit = {}): Promise<Response> {
    const url = new URL(input);
    if (url.origin !== options.origin) throw new McpHttpError(421, {}, "It named an address elsewhere.");
    const method = init.method ?? "GET";
    const headers = new Headers(init.headers);
    const isResumed = headers.has("last-event-id");
    if (method === "GET" && !isResumed) {
      // The SDK asks for a stream by itself, and again when it ends; an EventSource stops at 204.
      if (hasStream || (!isSse && !options.wantsStream())) return new Response(null, { status: isSse ? 204 : 405 });
      hasStream = true;
    }
    for (const [name, value] of Object.entries(options.headers)) headers.set(name, value);
    const message = method === "POST" && typeof init.body === "string" ? requestIn(init.body) : null;
    const { id } = message ?? {};
    if (id !== undefined) awaited.add(id);
    let response: Response;
    try {
      // A kept connection that has just been closed would leave open what became of the call.
      response = await (message?.isOnce ? egress.fetchOnce : egress.fetch)(url, {
        ...init,
        headers: Object.fromEntries(headers),
        signal: init.signal ? AbortSignal.any([init.signal, signal]) : signal,
      });
    } catch (error) {
      if (id !== undefined) awaited.delete(id);
      throw error;
    }
    const isRedirect = response.status >= 300 && response.status < 400;
    if (isRedirect || (method === "POST" && !response.ok)) {
      if (id !== undefined) awaited.delete(id);
      const said = isRedirect ? "a redirect, which is not followed" : await beginning(response);
      void response.body?.cancel().catch(() => {});
      throw new McpHttpError(response.status, Object.fromEntries(response.headers), said);
    }
    if (method === "POST") return isSse ? response : watched(response, () => (id === undefined ? [] : [id]));
    return method === "GET" ? watched(response, () => (isSse ? awaited : [])) : response;
  }

  return {
    async fetch(input, init) {
      try {
        const response = await fetch(input, init);
        if (!isSse || init?.method === "POST" || response.ok) return response;
        streamProblem = new McpHttpError(response.status, Object.fromEntries(response.headers), "");
      } catch (error) {
        if (!isSse || init?.method === "POST") throw error;
        streamProblem = error;
      }
      return new Response(null, { status: 204 });
    },
    problem: () => streamProblem,
    received(message) {
      unreadBytes = 0;
      const { id, method } = message as { id?: RequestId; method?: string };
      if (id !== undefined && method === undefined) awaited.delete(id);
    },
  };
}

function requestIn(body: string): { id: RequestId | undefined; isOnce: boolean } | null {
  const { id, method, params } = JSON.parse(body) as {
    id?: RequestId;
    method?: string;
    params?: { _meta?: Record<string, unknown> };
  };
  return { id: method === undefined ? undefined : id, isOnce: params?._meta?.[IDEMPOTENCY_META] !== undefined };
}

async function beginning(response: Response): Promise<string> {
  if (!response.body) return "";
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    while (text.length < MAX_ERROR_BYTES) {
      const { value, done } = await reader.read();
      if (done) break;
      text += decoder.decode(value, { stream: true });
    }
  } catch {
    // The status says enough.
  } finally {
    void reader.cancel().catch(() => {});
  }
  return text.slice(0, MAX_ERROR_BYTES);
}
