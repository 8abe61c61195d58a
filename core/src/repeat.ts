import type { Logger } from "pino";

export interface Repeated {
  /** Begins no further turn and waits for the one under way. */
  stop(): Promise<void>;
}

/** Does `work` again and again, so long after it ended; an error is logged and does not end the repetition. */
export function repeat(log: Logger, everyMs: number, work: () => Promise<void>): Repeated {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  let current: Promise<void> = Promise.resolve();
  const turn = (): void => {
    current = work()
      .catch((error: unknown) => log.warn({ err: error }, "a repeated task failed"))
      .finally(() => {
        if (!isStopped) timer = setTimeout(turn, everyMs);
      });
  };
  turn();
  return {
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await current;
    },
  };
}
