import { firstSeq, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { PublishedBatch } from "@agent-engine/core/events/bus.ts";
import { Batch, coalesce } from "./batch.ts";
import { Reader, type Page, type PageQuery, type ReaderOptions, type ReaderSource, type Sink } from "./reader.ts";

/** Kept for readers that are about to go live; more than that they read from the log. */
const RECENT_EVENTS = 256;

export interface LogQuery {
  tenantId: string;
  conversationId: string;
  runId: string | null;
  after: number;
  limit: number;
}

/** What the log answered; `isLast`: nothing followed it at that moment. */
export type LogPage = Pick<Page, "events" | "isLast">;

export interface ChannelDeps {
  readLog: (query: LogQuery) => Promise<LogPage>;
  /** Asks for one `flush` at the end of this turn of the event loop. */
  scheduleFlush: (channel: Channel) => void;
  onReadFailed: (error: unknown, conversationId: string) => void;
  onEmpty: (channel: Channel) => void;
}

/** One conversation on this server: its subscription to the bus, what arrived lately, and its readers. */
export class Channel implements ReaderSource {
  readonly conversationId: string;
  readonly readers = new Set<Reader>();
  readonly #tenantId: string;
  readonly #deps: ChannelDeps;
  readonly #reads = new Map<string, Promise<Page>>();
  #head = 0;
  #recent: StoredEnvelope[] = [];
  #arrived: (readonly StoredEnvelope[])[] = [];

  constructor(tenantId: string, conversationId: string, deps: ChannelDeps) {
    this.#tenantId = tenantId;
    this.conversationId = conversationId;
    this.#deps = deps;
  }

  get head(): number {
    return this.#head;
  }

  get recent(): readonly StoredEnvelope[] {
    return this.#recent;
  }

  add(options: ReaderOptions, sink: Sink): Reader {
    const reader = new Reader(this, options, sink);
    this.readers.add(reader);
    return reader;
  }

  remove(reader: Reader): void {
    if (this.readers.delete(reader) && this.readers.size === 0) this.#deps.onEmpty(this);
  }

  /** A committed batch from the bus. Delivered at the end of the turn, together with all that arrives until then. */
  receive(batch: PublishedBatch): void {
    const last = batch.events.at(-1);
    if (!last) return;
    this.#head = Math.max(this.#head, last.seq);
    if (this.#arrived.length === 0) this.#deps.scheduleFlush(this);
    this.#arrived.push(batch.events);
    this.#keep(batch.events);
  }

  flush(): void {
    if (this.#arrived.length === 0) return;
    const batch = new Batch(this.conversationId, coalesce(this.#arrived));
    this.#arrived = [];
    for (const reader of this.readers) reader.offer(batch);
    if (!this.#hasReading()) this.#recent = [];
  }

  /** Learns the log's head from Postgres and wakes whoever is behind it, or was stopped. */
  repair(head: number): void {
    this.#head = Math.max(this.#head, head);
    // What has arrived and waits for the end of the turn is no gap.
    this.flush();
    for (const reader of this.readers) reader.wake();
  }

  /** Readers at one cursor share one read. */
  read(query: PageQuery): Promise<Page> {
    const key = `${query.after} ${query.limit} ${query.runId} ${query.runEnded}`;
    const pending = this.#reads.get(key);
    if (pending) return pending;
    const started = this.#readPage(query).finally(() => this.#reads.delete(key));
    this.#reads.set(key, started);
    return started;
  }

  async #readPage(query: PageQuery): Promise<Page> {
    const headBefore = this.#head;
    const { conversationId } = this;
    const { after, limit, runId } = query;
    const page = await this.#deps.readLog({ tenantId: this.#tenantId, conversationId, after, limit, runId });
    return { ...page, headBefore };
  }

  onReadFailed(error: unknown): void {
    this.#deps.onReadFailed(error, this.conversationId);
  }

  /** Keeps a sorted tail; a late batch clears it, since only an ascending tail is of use. */
  #keep(events: readonly StoredEnvelope[]): void {
    const [first] = events;
    const last = this.#recent.at(-1);
    if (first && last && firstSeq(first) <= last.seq) this.#recent = [];
    this.#recent.push(...events);
    if (this.#recent.length > RECENT_EVENTS) this.#recent = this.#recent.slice(-RECENT_EVENTS);
  }

  #hasReading(): boolean {
    for (const reader of this.readers) if (reader.state === "reading") return true;
    return false;
  }
}
