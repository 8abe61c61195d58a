/** Reads what Composio refused, or what a request to it threw; what it means is in `../failure-table.ts`. */
import { retryAfterMs, type Failure } from "../failure.ts";
import { failureOf, failureTable, rowOfAnswer, type FailureId } from "../failure-table.ts";
import { networkError } from "../network-error.ts";
import { AnswerTooLarge, RequestFailed } from "./composio-fetch.ts";

/** The call was refused, or not answered for certain; the row says which. */
export class ComposioUnsettled extends Error {
  readonly row: FailureId;
  readonly requestId: string | null;

  constructor(row: FailureId, message: string, requestId: string | null = null) {
    super(message);
    this.name = "ComposioUnsettled";
    this.row = row;
    this.requestId = requestId;
  }
}

export interface Refused {
  status: number;
  message: string;
  code: number | null;
  slug: string;
  requestId: string | null;
  headers: Record<string, string>;
  /** What Composio advises. */
  advice: string | null;
}

/** No account, one that is not active, or one of another user. */
const CONNECTION_CODES = new Set([1803, 1810, 1811]);
const CONNECTION_SLUG = /ConnectedAccount(_)?(NotFound|NotActive|Expired|Inactive|Disabled|Revoked)/i;

/** What the SDK's error says, when Composio answered at all; else null. Never throws. */
export function refusalOf(error: unknown): Refused | null {
  if (!(error instanceof Error) || !("status" in error) || typeof error.status !== "number") return null;
  const body = inside(inside(error, "error"), "error");
  const text = (name: string) => {
    const value = body?.[name];
    return typeof value === "string" && value !== "" ? value : null;
  };
  const headers = "headers" in error && error.headers instanceof Headers ? Object.fromEntries(error.headers) : {};
  return {
    status: error.status,
    message: text("message") ?? error.message,
    code: typeof body?.code === "number" ? body.code : null,
    slug: text("slug") ?? "",
    requestId: text("request_id") ?? headers["x-request-id"] ?? null,
    headers,
    advice: text("suggested_fix"),
  };
}

function inside(value: unknown, name: string): Record<string, unknown> | null {
  if (typeof value !== "object" || value === null || !(name in value)) return null;
  const found = (value as Record<string, unknown>)[name];
  return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : null;
}

export function isAboutConnection({ code, slug }: Refused): boolean {
  return (code !== null && CONNECTION_CODES.has(code)) || CONNECTION_SLUG.test(slug);
}

/** What a refusal's status means; null when it is a definite answer for the model. */
export function rowOfRefusal(refused: Refused): FailureId | null {
  if (isAboutConnection(refused)) return "tool.connection_expired";
  // Composio's own limit for answers: the tool may have done its work before.
  if (refused.status === 413) return "tool.unknown";
  const row = rowOfAnswer("tool", refused.status, "");
  return row !== null && failureTable[row].kind === "permanent" ? null : (row ?? "tool.unknown");
}

/** Never throws. */
export function classifyComposioFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof ComposioUnsettled) return failureOf(error.row, error.message, { requestId: error.requestId });
  const refused = refusalOf(error);
  if (refused) {
    const { message, slug, requestId, headers } = refused;
    const detail = `Composio answered ${refused.status}${slug === "" ? "" : ` (${slug})`}: ${message}`;
    const row = rowOfRefusal(refused) ?? "tool.refused";
    return failureOf(row, detail, { requestId, retryAfterMs: retryAfterMs(headers, nowMs) });
  }
  if (error instanceof AnswerTooLarge) return failureOf("tool.unknown", error.message);
  const reason = reasonOf(error);
  const network = networkError(reason);
  if (network) {
    const row = network.notSent ? "tool.connection_failed" : "tool.connection_lost";
    return failureOf(row, `${network.code}: ${network.message}`);
  }
  if (
    reason instanceof Error &&
    /^(TimeoutError|AbortError|APIUserAbortError|APIConnectionTimeoutError)$/.test(nameOf(reason))
  ) {
    return failureOf("tool.timeout", "Composio did not answer in time.");
  }
  return failureOf("tool.unknown", reason instanceof Error ? `${reason.name}: ${reason.message}` : String(reason));
}

/** Under the SDK's wrapping, what really happened. */
function reasonOf(error: unknown): unknown {
  for (let current = error, depth = 0; current instanceof Error && depth < 5; current = current.cause, depth++) {
    if (current instanceof RequestFailed) return current.reason;
  }
  return error;
}

/** The SDK's errors go by the names of their classes only. */
function nameOf(error: Error): string {
  return error.name === "Error" ? error.constructor.name : error.name;
}
