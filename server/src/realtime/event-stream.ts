import type { AppContext, Principal } from "../http/request.ts";
import { audienceOf } from "./audience.ts";
import type { Frame, FrameEncoder } from "./frame.ts";
import type { Hub } from "./hub.ts";
import type { LiveConnections } from "./live-connections.ts";
import { MAX_BUFFERED_BYTES, type EndReason, type Reader, type Sink } from "./reader.ts";

const HEARTBEAT_MS = 15_000;
/** What a browser waits before it reconnects. */
const RETRY_MS = 1_000;
/** Longest delay a timer takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export const EVENT_STREAM_HEADERS = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-store, no-transform",
  "x-accel-buffering": "no",
} as const;

/** Where streams get their events from. */
export interface EventSource {
  hub: Hub;
  /** Milliseconds since the epoch. */
  clock: () => number;
  live: Pick<LiveConnections, "watch">;
}

export interface EventStreamRequest {
  conversationId: string;
  runId: string | null;
  runEnded: boolean;
  after: number;
}

/** Server-sent events of a frame: `id` is the seq, `data` the envelope. */
const encodeEvents: FrameEncoder<Uint8Array> = (frame: Frame) =>
  Buffer.from(frame.events.map((envelope) => `id: ${envelope.seq}\ndata: ${JSON.stringify(envelope)}\n\n`).join(""));

/** Answers with a stream of events, with or without Redis; the caller has checked that the principal may read them. */
export async function openEventStream(
  c: AppContext,
  { hub, clock, live }: EventSource,
  principal: Principal,
  request: EventStreamRequest,
): Promise<Response> {
  // Hono answers HEAD with GET's handler and drops the body, which would never be cancelled.
  if (c.req.method === "HEAD") return new Response(null, { headers: EVENT_STREAM_HEADERS });
  const stream = new EventStream();
  const { tenantId, actor, expiresAt } = principal;
  const reader = await hub.open({ ...request, tenantId, audience: audienceOf(actor) }, stream);
  stream.follow(reader, {
    expiresInMs: expiresAt === null ? null : expiresAt - clock(),
    watch: (end) => live.watch(principal, end),
  });
  return new Response(stream.readable, { headers: EVENT_STREAM_HEADERS });
}

/** A response body as a hub's sink. What is buffered in it counts; what the kernel holds does not. */
class EventStream implements Sink {
  readonly readable: ReadableStream<Uint8Array>;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #reader: Reader | null = null;
  #onDrained: (() => void) | null = null;
  #timers: NodeJS.Timeout[] = [];
  #stopWatching = (): void => {};

  constructor() {
    this.readable = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.#drained(),
        cancel: () => this.#stop(),
      },
      { highWaterMark: MAX_BUFFERED_BYTES, size: (chunk) => chunk?.byteLength ?? 0 },
    );
    this.#write(Buffer.from(`retry: ${RETRY_MS}\n\n`));
  }

  /** Starts the heartbeat, and ends the stream when its credential ends or is revoked. */
  follow(
    reader: Reader,
    { expiresInMs, watch }: { expiresInMs: number | null; watch: (end: () => void) => () => void },
  ): void {
    if (!this.#controller) return reader.close();
    this.#reader = reader;
    this.#stopWatching = watch(() => this.#finish());
    const heartbeat = setInterval(() => this.#heartbeat(), HEARTBEAT_MS);
    this.#timers.push(heartbeat.unref());
    if (expiresInMs === null) return;
    const expiry = setTimeout(() => this.#finish(), Math.min(Math.max(expiresInMs, 0), MAX_TIMER_MS));
    this.#timers.push(expiry.unref());
  }

  push(frame: Frame): void {
    this.#write(frame.as(encodeEvents));
  }

  bufferedBytes(): number {
    return this.#controller ? MAX_BUFFERED_BYTES - (this.#controller.desiredSize ?? MAX_BUFFERED_BYTES) : 0;
  }

  onceDrained(callback: () => void): void {
    this.#onDrained = callback;
  }

  end(_reason: EndReason): void {
    this.#finish();
  }

  #write(bytes: Uint8Array): void {
    this.#controller?.enqueue(bytes);
  }

  /** A comment: keeps proxies from closing a quiet stream. Not worth queueing for a slow reader. */
  #heartbeat(): void {
    if (this.bufferedBytes() === 0) this.#write(Buffer.from(": keep-alive\n\n"));
  }

  #drained(): void {
    if (this.bufferedBytes() > MAX_BUFFERED_BYTES / 2) return;
    const callback = this.#onDrained;
    this.#onDrained = null;
    callback?.();
  }

  #finish(): void {
    const controller = this.#controller;
    this.#stop();
    controller?.close();
  }

  #stop(): void {
    this.#controller = null;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stopWatching();
    this.#reader?.close();
  }
}
