import { Agent, fetch as undiciFetch } from "undici";

/**
 * Requests to the model vendors: as many connections as there are streams, kept open between a visitor's messages
 * (a new one costs two round trips), and no timeouts of its own: the engine watches each stream.
 */
export function createVendorFetch(): { fetch: typeof globalThis.fetch; close(): Promise<void> } {
  const dispatcher = new Agent({
    keepAliveTimeout: 30_000,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: { timeout: 10_000 },
  });
  const request = undiciFetch as unknown as (
    input: string | URL | Request,
    init: RequestInit & { dispatcher: Agent },
  ) => Promise<Response>;
  return {
    fetch: (input, init) => request(input, { ...init, dispatcher }),
    close: () => dispatcher.close(),
  };
}
