import { AgentEngineError } from "./problem.ts";

const BASE_MS = 500;
const CAP_MS = 15_000;

/** Exponential backoff with full jitter: a random wait up to 0.5 s, 1 s, 2 s … 15 s, so that a restarted server is not stampeded. */
export function backoffMs(failures: number, random: () => number): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** failures);
}

export const delay = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Repeats a request that is safe to repeat while its failure is transient, at most `attempts` times.
 * A server's Retry-After is honoured up to the cap; asked to wait longer, we give up and say so.
 * `pause` waits at most that many milliseconds.
 */
export async function retrying<T>(
  attempts: number,
  random: () => number,
  request: () => Promise<T>,
  pause = delay,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await request();
    } catch (error) {
      if (!(error instanceof AgentEngineError) || !error.isTransient || failures >= attempts) throw error;
      if (error.retryAfterMs > CAP_MS) throw error;
      await pause(error.retryAfterMs + backoffMs(failures, random));
    }
  }
}
