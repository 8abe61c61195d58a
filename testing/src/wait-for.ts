export interface WaitOptions {
  /** Default 10,000. */
  timeoutMs?: number;
  /** Time between two looks; default 10. */
  intervalMs?: number;
  /** What is waited for, for the error's message; a function may add what was seen last. */
  describe: string | (() => string);
}

/** A value once it is truthy. */
export type Truthy<T> = Exclude<T, false | 0 | "" | null | undefined>;

/**
 * Polls until the condition gives something truthy, and returns it. Rejects with the description when the time is up;
 * an error thrown by the condition counts as "not yet" and is the cause of that rejection.
 */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  { timeoutMs = 10_000, intervalMs = 10, describe }: WaitOptions,
): Promise<Truthy<T>> {
  const deadlineMs = performance.now() + timeoutMs;
  let cause: unknown;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value as Truthy<T>;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() >= deadlineMs) {
      const what = typeof describe === "string" ? describe : describe();
      throw new Error(`gave up after ${timeoutMs} ms waiting for ${what}`, { cause });
    }
    await new Promise((resolve) => setTimeout(resolve, intervalMs));
  }
}
