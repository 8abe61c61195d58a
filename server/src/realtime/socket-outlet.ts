import type { EventsPush } from "@agent-engine/protocol/realtime.ts";
import type { Frame, FrameEncoder } from "./frame.ts";
import { MAX_BUFFERED_BYTES, type EndReason, type Sink } from "./reader.ts";

/** What an outlet needs of a socket: Engine.IO's connection under a Socket.IO socket. */
export interface PacketConnection {
  readonly transport: { readonly writable: boolean };
  write(packet: string, options: { compress: boolean }, onSent: () => void): unknown;
}

/**
 * A frame as the Socket.IO packet of an `events` push: type EVENT (`2`) in the default namespace. Encoded by hand so
 * that it happens once for all readers of a frame, and so that Engine.IO tells when the network has taken it.
 */
export const encodePush: FrameEncoder<string> = (frame: Frame) => {
  const { conversationId, runId, events } = frame;
  const push: EventsPush = {
    conversationId,
    ...(runId === null ? {} : { runId }),
    events: events as EventsPush["events"],
  };
  return `2${JSON.stringify(["events", push])}`;
};

/** One socket's way out, shared by its subscriptions: counts what the network has not taken yet. */
export class SocketOutlet {
  readonly #connection: PacketConnection;
  readonly #onDrained = new Set<() => void>();
  #bufferedBytes = 0;

  constructor(connection: PacketConnection) {
    this.#connection = connection;
  }

  send(packet: string): void {
    const bytes = packet.length;
    this.#bufferedBytes += bytes;
    this.#connection.write(packet, { compress: false }, () => this.#sent(bytes));
  }

  bufferedBytes(): number {
    // An upgrade from polling to WebSocket may swallow a callback; an idle transport proves that nothing waits.
    if (this.#connection.transport.writable) this.#bufferedBytes = 0;
    return this.#bufferedBytes;
  }

  onceDrained(callback: () => void): void {
    this.#onDrained.add(callback);
  }

  #sent(bytes: number): void {
    this.#bufferedBytes = Math.max(0, this.#bufferedBytes - bytes);
    if (this.#onDrained.size === 0 || this.#bufferedBytes > MAX_BUFFERED_BYTES / 2) return;
    const callbacks = [...this.#onDrained];
    this.#onDrained.clear();
    for (const callback of callbacks) callback();
  }
}

/** One subscription's sink: holds its pushes back until the acknowledgement has gone out. */
export class SubscriptionSink implements Sink {
  readonly #outlet: SocketOutlet;
  readonly #onEnd: (reason: EndReason) => void;
  #held: Frame[] | null = [];

  constructor(outlet: SocketOutlet, onEnd: (reason: EndReason) => void) {
    this.#outlet = outlet;
    this.#onEnd = onEnd;
  }

  release(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const frame of held) this.push(frame);
  }

  push(frame: Frame): void {
    if (this.#held) this.#held.push(frame);
    else this.#outlet.send(frame.as(encodePush));
  }

  bufferedBytes(): number {
    return this.#outlet.bufferedBytes();
  }

  onceDrained(callback: () => void): void {
    this.#outlet.onceDrained(callback);
  }

  end(reason: EndReason): void {
    this.#onEnd(reason);
  }
}
