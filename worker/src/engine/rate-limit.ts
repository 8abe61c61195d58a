import type { Failure } from "@agent-engine/core/toolkits/failure.ts";

/** Remembers, for one tool, when the other side wants to be left alone: by account, null where none is needed. */
export interface RateLimit {
  /** Why nothing may be sent now; null when it may. Times are milliseconds since the epoch. */
  heldBy(connectionId: string | null, nowMs: number): { failure: Failure; untilMs: number } | null;
  failed(connectionId: string | null, failure: Failure, nowMs: number): void;
  /** An attempt that began at `begunMs`: answered although it asked before, so it wants to be left alone no longer. */
  answered(connectionId: string | null, begunMs: number): void;
}

/** What a call that was not made is told: the same as the one that was told to wait, with what is left of the time. */
export function heldFailure({ failure, untilMs }: { failure: Failure; untilMs: number }, nowMs: number): Failure {
  return {
    kind: failure.kind,
    code: failure.code,
    detail: `Not sent: by its Retry-After it wants to be left alone until ${new Date(untilMs).toISOString()}.`,
    requestId: failure.requestId,
    retryAfterMs: untilMs - nowMs,
    notSent: true,
  };
}
