/** The one place where an error becomes an answer: RFC 9457 problem details, and nothing of our insides. */
import { ProblemError } from "@agent-engine/core/errors.ts";
import { problems, type ProblemCode } from "@agent-engine/protocol/problems.ts";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import { isPostgresUnavailable } from "@agent-engine/core/db/postgres-unavailable.ts";

const RETRY_AFTER_SECONDS = 2;
/** A commit whose answer was lost may have been one. */
const UNAVAILABLE =
  "The database does not answer, and whether this was stored is not known. Send the same request again shortly: with the same `clientMessageId` or `Idempotency-Key` it is done once.";

/** Any error as the problem a caller may see. What is not one already is ours: 503 when Postgres is away, else 500. */
export function toProblemError(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  if (isPostgresUnavailable(error)) {
    return new ProblemError("unavailable", UNAVAILABLE, {
      retryAfterSeconds: RETRY_AFTER_SECONDS,
      cause: error,
    });
  }
  return new ProblemError("internal", "Something failed on our side. Try again; if it stays, report the request id.", {
    cause: error,
  });
}

export function problemBody(error: ProblemError, requestId: string): Problem {
  const { status, title } = problems[error.code];
  return {
    ...error.extra,
    type: problemType(error.code),
    title,
    status,
    detail: error.detail,
    code: error.code,
    requestId,
  };
}

export function problemResponse(error: ProblemError, requestId: string): Response {
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (error.retryAfterSeconds !== undefined) headers.set("retry-after", String(Math.ceil(error.retryAfterSeconds)));
  if (error.code === "unauthenticated") headers.set("www-authenticate", "Bearer");
  return new Response(JSON.stringify(problemBody(error, requestId)), { status: problems[error.code].status, headers });
}

function problemType(code: ProblemCode): string {
  return `urn:agent-engine:problem:${code}`;
}
