/** The one table of what can go wrong with an HTTP tool, and what may be done about it. */
import { retryAfterMs, type Failure, type FailureKind } from "@agent-engine/core/toolkits/failure.ts";
import { networkError } from "./network-error.ts";

const MAX_DETAIL_LENGTH = 500;

/** An answer that does not say for certain what became of the request, or that asks to come back later. */
export class HttpUnsettled extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, headers: Record<string, string>, body: string) {
    super(`The tool answered ${status}${body === "" ? "" : `: ${body}`}`.slice(0, MAX_DETAIL_LENGTH));
    this.name = "HttpUnsettled";
    this.status = status;
    this.headers = headers;
  }
}

type Verdict = readonly [kind: FailureKind, code: string];

/** 5xx not listed: the server gave up somewhere on the way, perhaps after it had done its work. */
const byStatus: Record<number, Verdict> = {
  408: ["unknown_outcome", "timeout"],
  425: ["transient", "unavailable"],
  429: ["transient", "rate_limited"],
  503: ["transient", "unavailable"],
};

/** True when this status is for the engine to act on; false when it is a definite answer for the model. */
export function isUnsettled(status: number): boolean {
  return status in byStatus || (status >= 500 && status !== 501 && status !== 505);
}

/** Never throws. */
export function classifyHttpFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof HttpUnsettled) {
    const [kind, code] = byStatus[error.status] ?? ["unknown_outcome", "server_error"];
    const requestId = error.headers["x-request-id"] ?? error.headers["request-id"] ?? null;
    return { kind, code, detail: error.message, requestId, retryAfterMs: retryAfterMs(error.headers, nowMs) };
  }
  const plain = (kind: FailureKind, code: string, detail: string): Failure => ({
    kind,
    code,
    detail: detail.slice(0, MAX_DETAIL_LENGTH),
    requestId: null,
    retryAfterMs: null,
  });
  const network = networkError(error);
  if (network?.code === "EGRESS_REFUSED") return plain("permanent", "address_refused", network.message);
  if (network?.notSent) {
    return { ...plain("transient", "connection_failed", `${network.code}: ${network.message}`), notSent: true };
  }
  if (network) return plain("unknown_outcome", "connection_lost", `${network.code}: ${network.message}`);
  if (error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")) {
    return plain("unknown_outcome", "timeout", "The tool did not answer in time.");
  }
  return plain(
    "unknown_outcome",
    "unknown",
    error instanceof Error ? `${error.name}: ${error.message}` : String(error),
  );
}
