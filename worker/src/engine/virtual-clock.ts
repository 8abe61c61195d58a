/** For tests: time that passes only when nothing else can happen. */
export class VirtualClock {
  #now = Date.UTC(2026, 0, 1);
  #timers: { at: number; order: number; fire: () => void }[] = [];
  #order = 0;

  now = (): number => this.#now;

  sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const timer = { at: this.#now + ms, order: this.#order++, fire: () => done() };
      const done = () => {
        this.#timers = this.#timers.filter((other) => other !== timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      signal.addEventListener("abort", done);
      this.#timers.push(timer);
    });

  /** Calls back at a time from now, in the same order of time as sleeps. */
  async after(ms: number, callback: () => void): Promise<void> {
    await this.sleep(ms, new AbortController().signal);
    callback();
  }

  /** Lets the promise run to its end, moving time on whenever everything waits for it. */
  async drive<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const watched = promise.finally(() => (settled = true));
    watched.catch(() => {});
    while (!settled) {
      for (let turn = 0; turn < 4 && !settled; turn++) await new Promise(setImmediate);
      if (settled) break;
      const next = this.#timers.toSorted((a, b) => a.at - b.at || a.order - b.order)[0];
      if (!next) throw new Error("Everything waits and no timer is set: the promise would never settle.");
      this.#now = next.at;
      next.fire();
    }
    return watched;
  }
}
