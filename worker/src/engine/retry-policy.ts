import type { Failure } from "@agent-engine/core/toolkits/failure.ts";

export interface RetryPolicy {
  /** Attempts in all, the first included. */
  maxAttempts: number;
  /** No attempt begins later than this after the first failure. */
  totalMs: number;
  baseDelayMs: number;
  maxDelayMs: number;
}

export const defaultRetryPolicy: RetryPolicy = {
  maxAttempts: 4,
  totalMs: 60_000,
  baseDelayMs: 500,
  maxDelayMs: 15_000,
};

export interface FailedAttempt {
  failure: Failure;
  /** 1 for the first. */
  attempt: number;
  sinceFirstFailureMs: number;
}

/**
 * Milliseconds to wait before the next attempt, or null when there shall be none. Exponential with full jitter, so
 * that a thousand runs that failed together do not come back together; a `Retry-After` is the least we wait.
 */
export function retryDelay(policy: RetryPolicy, failed: FailedAttempt, random: () => number): number | null {
  if (failed.attempt >= policy.maxAttempts) return null;
  const ceiling = Math.min(policy.maxDelayMs, policy.baseDelayMs * 2 ** (failed.attempt - 1));
  const jittered = Math.round(random() * ceiling);
  const asked = failed.failure.retryAfterMs;
  const delay = asked === null ? jittered : asked + Math.min(jittered, policy.baseDelayMs);
  return failed.sinceFirstFailureMs + delay > policy.totalMs ? null : delay;
}
