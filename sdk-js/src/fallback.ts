/** Reading without a socket. Loaded when it is first needed, which on most pages is never. */
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { readEventStream } from "./event-stream.ts";

const POLL_MS = 2_000;
const ROUNDS_PER_STREAM_ATTEMPT = 5;

export interface FallbackOptions {
  /** Waits at least `ms`, and longer the more often it failed. */
  pause(ms: number, failures: number): Promise<void>;
  /** Opens the SSE stream of what is followed now; null while there is nothing. */
  openStream(signal: AbortSignal): Promise<Response> | null;
  catchUp(): Promise<unknown>;
  onEvents(conversationId: string, events: Envelope[]): void;
}

/**
 * Asks every 2 s, and now and then tries the stream, which then replaces the asking for as long as it lasts.
 * Ends when `signal` aborts. `report` says how events arrive; null: they do not.
 */
export async function readWithoutSocket(
  options: FallbackOptions,
  signal: AbortSignal,
  report: (via: "stream" | "poll" | null) => void,
): Promise<void> {
  for (let round = 0, failures = 0; !signal.aborted; round++) {
    try {
      await options.catchUp();
      failures = 0;
      report("poll");
      const stream = round % ROUNDS_PER_STREAM_ATTEMPT === 0 && (await options.openStream(signal));
      if (stream) {
        report("stream");
        for await (const envelope of readEventStream(stream)) options.onEvents(envelope.conversationId, [envelope]);
      }
    } catch {
      if (++failures > 1) report(null);
    }
    await options.pause(POLL_MS, failures);
  }
}
