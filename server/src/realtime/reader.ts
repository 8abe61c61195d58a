import type { Audience, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { isTerminal } from "@agent-engine/protocol/events.ts";
import { cut, following, type Batch } from "./batch.ts";
import { Frame } from "./frame.ts";

/** Past this many bytes not yet taken by its network a reader gets no pushes: it catches up from the log once drained. */
export const MAX_BUFFERED_BYTES = 256 * 1024;

/** Log entries asked for at once. */
export const PAGE_SIZE = 500;

/** And bytes of them: entries may be large, and a page goes beyond what may be buffered. */
export const PAGE_BYTES = 64 * 1024;

/** Envelopes handed over between two looks at the buffer: what a page can overshoot the bound by. */
const CHUNK_SIZE = 32;

/** Why the hub closes a reader: its run ended, or this server stops. */
export type EndReason = "finished" | "closing";

/** A reader's way out: a Socket.IO socket, an SSE response. None of these may throw. */
export interface Sink {
  push(frame: Frame): void;
  /** Bytes handed over that the network has not taken yet. */
  bufferedBytes(): number;
  /** Calls back once, when the buffer has room again. */
  onceDrained(callback: () => void): void;
  end(reason: EndReason): void;
}

export interface PageQuery {
  after: number;
  runId: string | null;
  /** Log entries at most. */
  limit: number;
  /** The reader came after its run's end: a read that began before that may lack the end, and is not shared with it. */
  runEnded: boolean;
}

/** A page of the log, and the head that was known when its read began: everything up to there was committed. */
export interface Page {
  events: readonly StoredEnvelope[];
  /** False when the page was full: more may follow. */
  isLast: boolean;
  headBefore: number;
}

/** What a reader needs of its conversation's channel. */
export interface ReaderSource {
  readonly conversationId: string;
  /** The highest seq known to be committed. */
  readonly head: number;
  /** What arrived lately, ascending: lets a reader go live without another read. */
  readonly recent: readonly StoredEnvelope[];
  read(query: PageQuery): Promise<Page>;
  onReadFailed(error: unknown): void;
  remove(reader: Reader): void;
}

export interface ReaderOptions {
  /** The cursor: events follow from `after + 1`. */
  after: number;
  audience: Audience;
  /** Only this run's events, ending after its terminal one. */
  runId: string | null;
  /** The run had ended when the reader came: nothing will follow what the log holds. */
  runEnded: boolean;
}

/**
 * `new`: not started, its channel is not subscribed yet. `reading`: catches up from the log, pushes are ignored. `live`:
 * applies what continues its cursor. `blocked`: its network is slow, nothing is pushed or read until it drains.
 * `stalled`: the log did not answer, the next repair tries again. Everything but `live` comes back through `reading`,
 * so a lost push, a gap and a slow network heal alike.
 */
type ReaderState = "new" | "reading" | "live" | "blocked" | "stalled" | "ended";

/** One reader of one conversation: delivers each seq after its cursor once, in order. */
export class Reader {
  readonly audience: Audience;
  readonly runId: string | null;
  readonly #source: ReaderSource;
  readonly #sink: Sink;
  readonly #runEnded: boolean;
  #cursor: number;
  /** Shrinks for a slow network, so that it does not read what it cannot take. */
  #pageSize = PAGE_SIZE;
  #state: ReaderState = "new";

  constructor(source: ReaderSource, options: ReaderOptions, sink: Sink) {
    this.#source = source;
    this.#sink = sink;
    this.audience = options.audience;
    this.runId = options.runId;
    this.#runEnded = options.runEnded;
    this.#cursor = options.after;
  }

  get cursor(): number {
    return this.#cursor;
  }

  get state(): ReaderState {
    return this.#state;
  }

  /** Begins to read. The channel's subscription must be in force, so that log and pushes overlap. */
  start(): void {
    if (this.#state === "new") void this.#catchUp();
  }

  /** Goes on after anything that stopped it. Does nothing when it is well. */
  wake(): void {
    if (this.#state === "live" && this.#cursor < this.#source.head) void this.#catchUp();
    else if (this.#state === "stalled") void this.#catchUp();
    else if (this.#state === "blocked" && this.#sink.bufferedBytes() <= MAX_BUFFERED_BYTES) void this.#catchUp();
  }

  /** Offers what the channel just received. */
  offer(batch: Batch): void {
    if (this.#state !== "live") return;
    if (this.#isFull()) return this.#block();
    const { events, gap } = following(batch.events, this.#cursor);
    if (events === batch.events && this.runId === null) {
      this.#cursor = events.at(-1)?.seq ?? this.#cursor;
      this.#sink.push(batch.frame(this.audience));
    } else {
      this.#deliver(events);
    }
    if (gap) void this.#catchUp();
  }

  /** Ends the reader from the hub's side and says so to its sink. */
  end(reason: EndReason): void {
    if (this.#state === "ended") return;
    this.close();
    this.#sink.end(reason);
  }

  /** Ends the reader from its own side: its connection is gone. */
  close(): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#source.remove(this);
  }

  async #catchUp(): Promise<void> {
    this.#state = "reading";
    try {
      while (this.#isReading()) {
        if (this.#isFull()) return this.#block();
        const limit = this.#pageSize;
        const query = { after: this.#cursor, runId: this.runId, limit, runEnded: this.#runEnded };
        const { events, isLast, headBefore } = await this.#source.read(query);
        if (!this.#isReading() || !this.#deliverInChunks(events)) return;
        if (isLast && this.#cutOver(headBefore)) return;
      }
    } catch (error) {
      if (!this.#isReading()) return;
      this.#state = "stalled";
      this.#source.onReadFailed(error);
    }
  }

  /** After the log's last page: true when the reader has left `reading`, false when the log must be read again. */
  #cutOver(headBefore: number): boolean {
    if (!this.#isReading()) return true;
    // A run's own events are sparse: a page that is not full proves that nothing of it lies below the head of before.
    if (this.runId !== null) this.#cursor = Math.max(this.#cursor, headBefore);
    if (this.#cursor < headBefore) {
      this.#state = "stalled";
      return true;
    }
    this.#deliver(following(this.#source.recent, this.#cursor).events);
    if (!this.#isReading()) return true;
    if (this.#runEnded) {
      this.end("finished");
      return true;
    }
    if (this.#cursor < this.#source.head) return false;
    this.#state = "live";
    this.#pageSize = PAGE_SIZE;
    return true;
  }

  /** False when the reader stopped on the way: it ended, or its network could take no more. */
  #deliverInChunks(events: readonly StoredEnvelope[]): boolean {
    for (let start = 0; start < events.length; start += CHUNK_SIZE) {
      if (start > 0 && this.#isFull()) {
        this.#pageSize = Math.max(CHUNK_SIZE, start);
        this.#block();
        return false;
      }
      this.#deliver(events.slice(start, start + CHUNK_SIZE));
      if (!this.#isReading()) return false;
    }
    return true;
  }

  #deliver(events: readonly StoredEnvelope[]): void {
    const last = events.at(-1);
    if (!last) return;
    this.#cursor = Math.max(this.#cursor, last.seq);
    const own = this.runId === null ? events : events.filter((event) => event.runId === this.runId);
    if (own.length === 0) return;
    this.#sink.push(new Frame(this.#source.conversationId, this.runId, cut(own, this.audience)));
    if (this.runId !== null && own.some((event) => isTerminal(event.event))) this.end("finished");
  }

  #block(): void {
    this.#state = "blocked";
    this.#sink.onceDrained(() => this.wake());
  }

  #isFull(): boolean {
    return this.#sink.bufferedBytes() > MAX_BUFFERED_BYTES;
  }

  #isReading(): boolean {
    return this.#state === "reading";
  }
}
