import { problems, type ProblemCode } from "@agent-engine/protocol/problems.ts";

export interface ProblemOptions {
  /** Answered as `Retry-After`. */
  retryAfterSeconds?: number;
  /** Members added to the problem document, for instance the id of the run in the way. */
  extra?: Record<string, unknown>;
  cause?: unknown;
}

/** The one error a verb throws at its caller; the HTTP edge maps it once to RFC 9457. `detail` says what to do. */
export class ProblemError extends Error {
  readonly code: ProblemCode;
  readonly detail: string;
  readonly retryAfterSeconds: number | undefined;
  readonly extra: Record<string, unknown>;

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(`${problems[code].title}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "ProblemError";
    this.code = code;
    this.detail = detail;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.extra = options.extra ?? {};
  }
}

/** The same words for a missing id, a malformed one and another tenant's: an answer never tells which it was. */
export function notFound(kind: string): ProblemError {
  return new ProblemError("not_found", `There is no such ${kind}. Check the id and the credential it belongs to.`);
}
