/** Counts runs: a doorbell waits here for a free place before it claims its run. */
export interface Slots {
  readonly active: number;
  /** Resolves with the function that frees the place. Rejects once closed. */
  acquire(): Promise<() => void>;
  close(): void;
  /** Resolves when no place is taken. */
  empty(): Promise<void>;
}

export class SlotsClosed extends Error {
  constructor() {
    super("the worker takes no more runs");
    this.name = "SlotsClosed";
  }
}

export function createSlots(size: number): Slots {
  let active = 0;
  let isClosed = false;
  const waiting: { resolve: (release: () => void) => void; reject: (error: Error) => void }[] = [];
  let onEmpty: (() => void)[] = [];

  function take(): () => void {
    active++;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      active--;
      const next = waiting.shift();
      if (next) next.resolve(take());
      if (active === 0) {
        for (const resolve of onEmpty) resolve();
        onEmpty = [];
      }
    };
  }

  return {
    get active() {
      return active;
    },
    acquire() {
      if (isClosed) return Promise.reject(new SlotsClosed());
      if (active < size) return Promise.resolve(take());
      return new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    },
    close() {
      isClosed = true;
      for (const { reject } of waiting.splice(0)) reject(new SlotsClosed());
    },
    empty() {
      return active === 0 ? Promise.resolve() : new Promise((resolve) => onEmpty.push(resolve));
    },
  };
}
