/** Requests to Composio: bounded answers, and errors that still say whether anything was sent. */
import type { Agent } from "undici";

/** Composio itself cuts off at about 6 MB. */
export const MAX_ANSWER_BYTES = 4_000_000;
const MAX_LIST_BYTES = 40_000_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** More came than is read. */
export class AnswerTooLarge extends Error {
  constructor(maxBytes: number) {
    super(`The answer is larger than ${Math.round(maxBytes / 1_000)} kB.`);
    this.name = "AnswerTooLarge";
  }
}

/**
 * The request failed before its answer. `reason` is the network's own error; it is no `cause`, as the SDK would make a
 * timeout of some and drop it.
 */
export class RequestFailed extends Error {
  readonly reason: unknown;

  constructor(reason: unknown) {
    super("The request to Composio failed.");
    this.name = "RequestFailed";
    this.reason = reason;
  }
}

interface Opened {
  fetch: typeof globalThis.fetch;
  kept: Agent;
  single: Agent;
}

let opening: Promise<Opened> | null = null;

async function open(): Promise<Opened> {
  const { Agent, fetch } = await import("undici");
  const connect = { timeout: CONNECT_TIMEOUT_MS };
  // No timeouts of its own: every caller has a deadline.
  return {
    fetch: fetch as unknown as typeof globalThis.fetch,
    kept: new Agent({ connect, keepAliveTimeout: 30_000, headersTimeout: 0, bodyTimeout: 0 }),
    single: new Agent({ connect, pipelining: 0, headersTimeout: 0, bodyTimeout: 0 }),
  };
}

/** What changes something goes over a connection of its own: a kept one may break after the request was sent. */
export const composioFetch: typeof globalThis.fetch = async (input, init) => {
  const { fetch, kept, single } = await (opening ??= open());
  const isRead = (init?.method ?? "GET").toUpperCase() === "GET";
  const request = fetch as (
    url: string | URL | Request,
    options: RequestInit & { dispatcher: Agent },
  ) => Promise<Response>;
  const asked = { ...init, redirect: "manual" as const, dispatcher: isRead ? kept : single };
  const response = await request(input, asked).catch((error: unknown) => {
    throw new RequestFailed(error);
  });
  return bounded(response, isRead ? MAX_LIST_BYTES : MAX_ANSWER_BYTES);
};

function bounded(response: Response, maxBytes: number): Response {
  const { body, status, headers } = response;
  if (!body) return response;
  let bytes = 0;
  const counted = body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.byteLength;
        if (bytes > maxBytes) controller.error(new AnswerTooLarge(maxBytes));
        else controller.enqueue(chunk);
      },
    }),
  );
  return new Response(counted, { status, headers: [...headers] });
}
