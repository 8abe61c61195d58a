/**
 * Stopping, from any moment of the start on: what was started is stopped in reverse order, each part within its time,
 * all of it within five seconds.
 */
import { setTimeout as delay } from "node:timers/promises";
import { stopCompiling } from "@agent-engine/core/stop-compiling.ts";

interface Part {
  name: string;
  limitMs: number;
  stop: () => Promise<void> | void;
}

/** Ctrl-C reaches this process twice: from the terminal, and handed on by the bootstrap. */
const SAME_KEYPRESS_MS = 1_000;

/** How long a start that is interrupted may take to reach the end of its current part. */
const INTERRUPTED_START_LIMIT_MS = 2_500;

export class Shutdown {
  readonly #parts: Part[] = [];
  readonly #say: (message: string) => void;
  #begunAt: number | null = null;

  constructor(say: (message: string) => void) {
    this.#say = say;
  }

  get begun(): boolean {
    return this.#begunAt !== null;
  }

  /** Registers how to stop a part that has just been started. */
  add(part: Part): void {
    this.#parts.unshift(part);
  }

  /** Stops everything and ends the process with `code`; `starting` is awaited first, so that no part is half-started. */
  async run(code: number, starting: Promise<unknown>): Promise<void> {
    if (this.#begunAt !== null) {
      if (performance.now() - this.#begunAt > SAME_KEYPRESS_MS) process.exit(code === 0 ? 130 : code);
      return;
    }
    this.#begunAt = performance.now();
    stopCompiling();
    await Promise.race([starting.catch(() => undefined), delay(INTERRUPTED_START_LIMIT_MS)]);
    for (const part of this.#parts) {
      const late = Symbol();
      const stopped = Promise.resolve()
        .then(part.stop)
        .catch((error: unknown) => this.#say(`Stopping ${part.name} failed: ${String(error)}`));
      if ((await Promise.race([stopped, delay(part.limitMs, late)])) === late) {
        this.#say(`${part.name} did not stop within ${part.limitMs / 1000} s and was left.`);
      }
    }
    process.exit(code);
  }

  /** Every way to be told to stop, and a crash. */
  listen(starting: Promise<unknown>): void {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
      process.on(signal, () => {
        if (!this.begun) this.#say("Stopping …");
        void this.run(0, starting);
      });
    }
    // The bootstrap was killed: nobody would forward a signal any more.
    process.on("disconnect", () => void this.run(1, starting));
    process.channel?.unref();
    process.on("uncaughtException", (error) => {
      console.error(error);
      void this.run(1, Promise.resolve());
    });
  }
}
