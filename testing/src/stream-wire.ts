import type { ServerResponse } from "node:http";

/** Bytes gathered before they are written while the script does not pause. */
const WRITE_BYTES = 16_384;

/**
 * One response being streamed: gathers text into few writes, respects a slow reader, and knows when the reader went
 * away. Every wait ends early then, so a script never outlives its reader.
 */
export class StreamWire {
  gone = false;
  #response: ServerResponse;
  #buffer = "";
  #wake: (() => void) | null = null;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on("close", () => {
      this.gone = !response.writableFinished;
      this.#wake?.();
    });
    response.on("drain", () => this.#wake?.());
  }

  /** Adds text; true when enough has gathered that the caller should `await flush()`. */
  add(text: string): boolean {
    this.#buffer += text;
    return this.#buffer.length >= WRITE_BYTES;
  }

  /** Writes what has gathered; waits only while the reader's buffers are full. */
  async flush(): Promise<void> {
    if (this.#buffer === "" || this.gone) return;
    const text = this.#buffer;
    this.#buffer = "";
    if (!this.#response.write(text)) await this.#wait();
  }

  async bytes(bytes: Uint8Array): Promise<void> {
    await this.flush();
    if (this.gone) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#response.write(bytes, () => resolve());
    });
  }

  /** Writes what has gathered, then waits; `null` waits until the reader goes away. */
  async pause(ms: number | null): Promise<void> {
    await this.flush();
    if (this.gone) return;
    const timer = ms === null ? null : setTimeout(() => this.#wake?.(), ms);
    await this.#wait();
    if (timer) clearTimeout(timer);
  }

  /** Writes what has gathered, then waits for the promise. */
  async until(promise: Promise<void>): Promise<void> {
    await this.flush();
    if (this.gone) return;
    void promise.then(() => this.#wake?.());
    await this.#wait();
  }

  async end(): Promise<void> {
    if (this.gone) return;
    const last = this.#buffer;
    this.#buffer = "";
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#response.end(last, resolve);
    });
  }

  /** Destroys the socket after everything written has left the process. */
  async cut(reset: boolean): Promise<void> {
    await this.flush();
    const socket = this.#response.socket;
    if (this.gone || !socket) return;
    if (this.#response.headersSent) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        socket.write("", () => resolve());
      });
    }
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  }

  #wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
