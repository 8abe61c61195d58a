import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { adviceOn, type FailureRow } from "@agent-engine/core/toolkits/failure-table.ts";

/** One attempt that failed, as an operator's interrupt lists it. */
export interface Tried {
  /** ISO 8601 UTC. */
  at: string;
  code: string;
  requestId: string | null;
}

export function triedOf(failure: Failure, nowMs: number): Tried {
  return { at: new Date(nowMs).toISOString(), code: failure.code, requestId: failure.requestId };
}

/** What an operator needs to know of a failure that made a run wait, and what they can do about it. */
export function failureMetadata(of: FailureRow["of"], failure: Failure, tried: readonly Tried[], nowMs: number) {
  const { code, detail, requestId, retryAfterMs, circuit } = failure;
  return {
    code,
    detail,
    requestId,
    retryAfterMs,
    /** When the other side wants to be asked again. */
    retryAt: retryAfterMs === null ? null : new Date(nowMs + retryAfterMs).toISOString(),
    tried,
    ...(circuit ? { circuit } : {}),
    advice: adviceOn(of, code),
  };
}
