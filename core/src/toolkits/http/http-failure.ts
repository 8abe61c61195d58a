/** Reads what an HTTP tool answered or threw; what it means is in `../engine/failure-table.ts`. */
import { retryAfterMs, type Failure } from "../failure.ts";
import { failureOf, failureTable, rowOfAnswer } from "../failure-table.ts";
import { networkError } from "../network-error.ts";

const MAX_MESSAGE_LENGTH = 500;

/** An answer that does not say for certain what became of the request, or that asks to come back later. */
export class HttpUnsettled extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, headers: Record<string, string>, body: string) {
    super(`The tool answered ${status}${body === "" ? "" : `: ${body}`}`.slice(0, MAX_MESSAGE_LENGTH));
    this.name = "HttpUnsettled";
    this.status = status;
    this.headers = headers;
  }
}

/** True when this status is for the engine to act on; false when it is a definite answer for the model. */
export function isUnsettled(status: number): boolean {
  // Its body is the model's to read, not words about a failure.
  const row = rowOfAnswer("tool", status, "");
  return row !== null && failureTable[row].kind !== "permanent";
}

/** Never throws. */
export function classifyHttpFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof HttpUnsettled) {
    const requestId = error.headers["x-request-id"] ?? error.headers["request-id"] ?? null;
    const row = rowOfAnswer("tool", error.status, "") ?? "tool.unknown";
    return failureOf(row, error.message, { requestId, retryAfterMs: retryAfterMs(error.headers, nowMs) });
  }
  const network = networkError(error);
  if (network?.code === "EGRESS_REFUSED") return failureOf("tool.address_refused", network.message);
  if (network) {
    const row = network.notSent ? "tool.connection_failed" : "tool.connection_lost";
    return failureOf(row, `${network.code}: ${network.message}`);
  }
  if (error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")) {
    return failureOf("tool.timeout", "The tool did not answer in time.");
  }
  return failureOf("tool.unknown", error instanceof Error ? `${error.name}: ${error.message}` : String(error));
}
