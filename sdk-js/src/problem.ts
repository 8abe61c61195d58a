import type { Problem } from "@agent-engine/protocol/resources.ts";
import type { ProblemCode } from "@agent-engine/protocol/problems.ts";

/** What can go wrong with a request: the server's problem codes, and `network` when no answer came at all. */
export type ErrorCode = ProblemCode | "network";

/** Every error the SDK throws. `message` is the server's `detail`: a sentence that says what to do. */
export class AgentEngineError extends Error {
  readonly code: ErrorCode;
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  /** How long the server asks us to wait. */
  readonly retryAfterMs: number;
  /** Quote it to support: it finds the request in the server's logs. */
  readonly requestId: string | undefined;

  constructor(code: ErrorCode, message: string, status = 0, retryAfterMs = 0, requestId?: string) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
    this.requestId = requestId;
  }

  /** True when the same request may succeed later without anybody changing anything. */
  get isTransient(): boolean {
    return !this.status || this.status >= 500 || this.status === 429 || this.code === "idempotency_in_flight";
  }
}

/** The typed error of an answer that is not 2xx; a body that is no problem document (a proxy's page) still gets a code. */
export async function problemOf(response: Response): Promise<AgentEngineError> {
  const { status } = response;
  const problem = (await response.json().catch(() => ({}))) as Partial<Problem>;
  return new AgentEngineError(
    problem.code ?? (status >= 500 ? "unavailable" : "invalid_request"),
    problem.detail ?? `HTTP ${status}`,
    status,
    Number(response.headers.get("retry-after")) * 1000 || 0,
    problem.requestId,
  );
}
