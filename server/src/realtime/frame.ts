import type { Envelope } from "@agent-engine/protocol/envelope.ts";

/** Encodes a frame for one kind of wire. Declared once per wire: its identity is the key of the memo. */
export type FrameEncoder<T> = (frame: Frame) => T;

/**
 * What one push carries: consecutive events of one conversation, already cut to a reader's audience. Readers at the same
 * cursor share a frame, so each wire form is made once however many of them listen.
 */
export class Frame {
  readonly conversationId: string;
  /** Set when the frame holds one run's events only. */
  readonly runId: string | null;
  readonly events: readonly Envelope[];
  readonly #encoded = new Map<FrameEncoder<unknown>, unknown>();

  constructor(conversationId: string, runId: string | null, events: readonly Envelope[]) {
    this.conversationId = conversationId;
    this.runId = runId;
    this.events = events;
  }

  as<T>(encode: FrameEncoder<T>): T {
    if (!this.#encoded.has(encode)) this.#encoded.set(encode, encode(this));
    return this.#encoded.get(encode) as T;
  }
}
