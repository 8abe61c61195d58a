import type { Socket } from "node:net";

/** How bytes travel; all fields absent: as they come. */
export interface PipeShape {
  /** Nothing is read and nothing delivered. */
  held?: boolean;
  delayMs?: number;
  bytesPerSecond?: number;
}

/** Bytes held before the source is no longer read: what the network would buffer. */
const BUFFER_BYTES = 65_536;
/** A throttled pipe delivers this often. */
const SLICE_MS = 25;

interface Piece {
  bytes: Buffer;
  /** When it may be delivered, on the monotonic clock. */
  dueMs: number;
}

/** One direction of a proxied connection: source → queue → destination, in order, shaped, with backpressure. */
export class Pipe {
  #source: Socket;
  #destination: Socket;
  #queue: Piece[] = [];
  #queuedBytes = 0;
  #shape: PipeShape = {};
  #timer: NodeJS.Timeout | null = null;
  #draining = false;
  #sourceEnded = false;
  #discarding = false;

  constructor(source: Socket, destination: Socket) {
    this.#source = source;
    this.#destination = destination;
    source.on("data", (bytes: Buffer) => {
      if (this.#discarding) return;
      this.#queue.push({ bytes, dueMs: performance.now() + (this.#shape.delayMs ?? 0) });
      this.#queuedBytes += bytes.length;
      this.#pump();
    });
    source.on("end", () => this.finish());
    destination.on("drain", () => {
      this.#draining = false;
      this.#pump();
    });
  }

  shape(shape: PipeShape): void {
    this.#shape = shape;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#pump();
  }

  /** No more bytes come: ends the destination once those that came are delivered. */
  finish(): void {
    this.#sourceEnded = true;
    this.#pump();
  }

  /** From now on swallows what the source sends and delivers nothing. */
  discard(): void {
    this.#discarding = true;
    this.#queue = [];
    this.#source.resume();
  }

  #pump(): void {
    if (this.#discarding || this.#timer) return;
    if (this.#destination.destroyed) {
      this.#source.resetAndDestroy();
      return;
    }
    const { held = false, bytesPerSecond } = this.#shape;
    if (held || this.#draining || this.#queuedBytes >= BUFFER_BYTES) this.#source.pause();
    if (held || this.#draining) return;

    let allowance = bytesPerSecond === undefined ? Infinity : Math.max(1, (bytesPerSecond * SLICE_MS) / 1000);
    for (let piece = this.#queue[0]; piece && allowance >= 1; piece = this.#queue[0]) {
      const waitMs = piece.dueMs - performance.now();
      if (waitMs > 0) return this.#later(waitMs);
      const bytes = piece.bytes.subarray(0, Math.floor(Math.min(allowance, piece.bytes.length)));
      if (bytes.length === piece.bytes.length) this.#queue.shift();
      else piece.bytes = piece.bytes.subarray(bytes.length);
      this.#queuedBytes -= bytes.length;
      allowance -= bytes.length;
      if (bytesPerSecond !== undefined) this.#later(SLICE_MS);
      if (!this.#destination.write(bytes)) {
        this.#draining = true;
        return;
      }
    }
    if (this.#queuedBytes < BUFFER_BYTES) this.#source.resume();
    if (this.#sourceEnded && this.#queue.length === 0) this.#destination.end();
  }

  #later(ms: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#pump();
    }, ms);
  }
}
