/** A hub on an in-memory log whose every asynchronous answer comes when the test says so. */
import type { Envelope, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { EventBus, PublishedBatch } from "@agent-engine/core/events/bus.ts";
import type { LogPage, LogQuery } from "./channel.ts";
import { createHub, type Hub } from "./hub.ts";
import type { EndReason, Sink } from "./reader.ts";

export const CONVERSATION = "conv_00000000000000000000000000000001";
export const TENANT = "tenant_00000000000000000000000000000001";

interface PendingRead {
  query: LogQuery;
  /** The log's length when the read began: its snapshot. */
  length: number;
  resolve: (page: LogPage) => void;
  reject: (error: Error) => void;
}

export class HubFixture {
  readonly log: StoredEnvelope[] = [];
  readonly hub: Hub;
  readonly errors: string[] = [];
  reads: PendingRead[] = [];
  /** What fits into a page, as with large events. */
  rowsPerPage = Infinity;
  readsStarted = 0;
  subscribed = 0;
  #deferred: (() => void)[] = [];
  #listeners = new Set<(batch: PublishedBatch) => void>();
  #reconnects = new Set<() => void>();

  constructor() {
    const bus: EventBus = {
      publish: () => {},
      subscribe: (_, onBatch) => {
        this.subscribed++;
        this.#listeners.add(onBatch);
        return {
          inForce: Promise.resolve(),
          leave: () => {
            this.subscribed--;
            this.#listeners.delete(onBatch);
          },
        };
      },
      followTenant: () => ({ inForce: Promise.resolve(), leave: () => {} }),
      onReconnect: (listener) => {
        this.#reconnects.add(listener);
        return () => this.#reconnects.delete(listener);
      },
      control: { publish: () => {}, subscribe: async () => () => {} },
      isHealthy: () => true,
      onHealth: () => () => {},
      close: async () => {},
    };
    this.hub = createHub({
      bus,
      readLog: (query) =>
        new Promise((resolve, reject) => {
          this.readsStarted++;
          this.reads.push({ query, length: this.log.length, resolve, reject });
        }),
      readHeads: async () => new Map([[CONVERSATION, this.log.length]]),
      onError: (what) => void this.errors.push(what),
      defer: (task) => void this.#deferred.push(task),
    });
  }

  /** Commits events, without telling anybody. */
  append(...events: Pick<StoredEnvelope, "event" | "audience" | "runId">[]): StoredEnvelope[] {
    const stored = events.map((event, index) => ({
      ...event,
      seq: this.log.length + index + 1,
      conversationId: CONVERSATION,
      at: "2026-11-22T00:00:00.000Z",
      correlationId: "req_1",
    }));
    this.log.push(...stored);
    return stored;
  }

  publish(events: StoredEnvelope[]): void {
    for (const listener of this.#listeners) listener({ conversationId: CONVERSATION, tenantId: TENANT, events });
  }

  reconnect(): void {
    for (const listener of this.#reconnects) listener();
  }

  flush(): void {
    for (const task of this.#deferred.splice(0)) task();
  }

  async answerRead(index: number, fails = false): Promise<void> {
    const [read] = this.reads.splice(index, 1);
    if (!read) return;
    const { after, limit, runId } = read.query;
    if (fails) read.reject(new Error("the log does not answer"));
    else {
      const visible = this.log.slice(after, read.length).filter((event) => runId === null || event.runId === runId);
      const rows = Math.min(limit, this.rowsPerPage);
      read.resolve({ events: visible.slice(0, rows), isLast: visible.length < rows });
    }
    await turn();
  }

  /** Answers and flushes until nothing moves. */
  async settle(): Promise<void> {
    do {
      await turn();
      this.flush();
      while (this.reads.length > 0) await this.answerRead(0);
      await turn();
    } while (this.reads.length > 0 || this.#deferred.length > 0);
  }

  async open(options: Partial<Parameters<Hub["open"]>[0]> = {}, sink = new FakeSink()): Promise<FakeSink> {
    const opening = this.hub.open(
      {
        tenantId: TENANT,
        conversationId: CONVERSATION,
        after: 0,
        audience: "staff",
        runId: null,
        runEnded: false,
        ...options,
      },
      sink,
    );
    sink.reader = await opening;
    return sink;
  }
}

export class FakeSink implements Sink {
  readonly received: Envelope[] = [];
  reader: { close(): void; cursor: number; state: string } | null = null;
  ended: EndReason | null = null;
  pushes = 0;
  #isPaused = false;
  #buffered = 0;
  #onDrained: (() => void) | null = null;

  push({ events }: { events: readonly Envelope[] }): void {
    if (this.ended) throw new Error("pushed after the end");
    this.pushes++;
    this.received.push(...events);
    if (this.#isPaused) this.#buffered += 100_000;
  }

  bufferedBytes(): number {
    return this.#buffered;
  }

  onceDrained(callback: () => void): void {
    this.#onDrained = callback;
  }

  end(reason: EndReason): void {
    this.ended = reason;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#buffered = 0;
    const callback = this.#onDrained;
    this.#onDrained = null;
    callback?.();
  }
}

/** Lets every promise that is ready run. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export const delta = (
  text: string,
  messageId = "msg_1",
  runId: string | null = null,
): Pick<StoredEnvelope, "event" | "audience" | "runId"> => ({
  audience: "all",
  runId,
  event: { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
});

export const reasoning = (
  text: string,
  runId: string | null = null,
): Pick<StoredEnvelope, "event" | "audience" | "runId"> => ({
  audience: "staff",
  runId,
  event: { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_2", delta: text },
});

export const finished = (runId: string): Pick<StoredEnvelope, "event" | "audience" | "runId"> => ({
  audience: "all",
  runId,
  event: { type: "RUN_FINISHED", threadId: CONVERSATION, runId, outcome: { type: "success" } },
});
