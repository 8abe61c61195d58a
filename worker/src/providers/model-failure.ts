/** The one table of what can go wrong with a model, and what may be done about it. */
import { APICallError, JSONParseError, InvalidResponseDataError, TypeValidationError } from "@ai-sdk/provider";
import { isProviderStreamError } from "@ai-sdk/provider-utils";
import { retryAfterMs, type Failure, type FailureKind } from "@agent-engine/core/toolkits/failure.ts";
import { ModelStalled, ModelStreamCut } from "../engine/model-provider.ts";
import { networkError, type NetworkError } from "../toolkits/network-error.ts";

const MAX_DETAIL_LENGTH = 500;

type Verdict = readonly [kind: FailureKind, code: string];

const byStatus: Record<number, Verdict> = {
  400: ["permanent", "invalid_request"],
  401: ["permanent", "not_authorized"],
  402: ["needs_person", "quota_exhausted"],
  403: ["permanent", "not_authorized"],
  404: ["permanent", "model_not_found"],
  408: ["transient", "timeout"],
  409: ["transient", "unavailable"],
  413: ["permanent", "context_too_long"],
  422: ["permanent", "invalid_request"],
  425: ["transient", "unavailable"],
  429: ["transient", "rate_limited"],
};

/** What vendors write into codes, types and messages; the first that matches wins over the status. */
const byWords: readonly (readonly [RegExp, Verdict])[] = [
  [/insufficient_quota|billing_(error|hard_limit)|credit balance is too low/i, ["needs_person", "quota_exhausted"]],
  [
    /context_length_exceeded|context window|maximum context length|prompt is too long/i,
    ["permanent", "context_too_long"],
  ],
  [/rate_limit_(exceeded|error)/i, ["transient", "rate_limited"]],
  [/content_filter|content_policy|content management policy/i, ["permanent", "content_filtered"]],
];

/** No key, no model name: the agent asks for a model that is not set up. */
export class ModelNotConfigured extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ModelNotConfigured";
  }
}

/** Never throws; an error it does not know is transient: a model turn has no effect outside. */
export function classifyModelFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof ModelNotConfigured) return failure(["permanent", "not_configured"], error.message);
  if (error instanceof ModelStalled) return failure(["transient", "stalled"], error.message);
  if (error instanceof ModelStreamCut) {
    const network = networkError(error.cause);
    return failure(["transient", "cut_off"], network ? `${network.code}: ${network.message}` : error.message);
  }
  if (APICallError.isInstance(error)) return apiFailure(error, nowMs);
  if (isProviderStreamError(error)) {
    const words = `${error.type ?? ""} ${error.code ?? ""} ${error.message}`;
    return failure(verdict(error.statusCode, words), error.message);
  }
  if (JSONParseError.isInstance(error) || TypeValidationError.isInstance(error)) {
    return failure(["transient", "garbage"], error.message);
  }
  if (InvalidResponseDataError.isInstance(error)) return failure(["transient", "garbage"], error.message);
  const network = networkError(error);
  if (network) return failure(networkVerdict(network), `${network.code}: ${network.message}`);
  if (error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")) {
    return failure(["transient", "timeout"], error.message);
  }
  return frameFailure(error);
}

function apiFailure(error: APICallError, nowMs: number): Failure {
  const headers = error.responseHeaders;
  const extra = { requestId: requestIdOf(headers), retryAfterMs: retryAfterMs(headers, nowMs) };
  const network = networkError(error.cause);
  if (error.statusCode === undefined) {
    if (network) return failure(networkVerdict(network), `${network.code}: ${network.message}`, extra);
    return failure(["transient", "connection_failed"], error.message, extra);
  }
  if (error.statusCode < 300) {
    // The answer had begun.
    if (network) return failure(["transient", "cut_off"], `${network.code}: ${network.message}`, extra);
    return failure(["transient", "garbage"], error.message, extra);
  }
  const words = `${error.message} ${error.responseBody ?? ""}`.slice(0, 4_000);
  return failure(verdict(error.statusCode, words), `${error.statusCode} ${error.message}`, extra);
}

function networkVerdict(network: NetworkError): Verdict {
  return network.code === "EGRESS_REFUSED" ? ["permanent", "address_refused"] : ["transient", "connection_failed"];
}

/** An error object where a chunk should be, as OpenAI-compatible servers send it: a text, or an object with one. */
function frameFailure(error: unknown): Failure {
  if (typeof error === "string") return failure(verdict(undefined, error), error);
  if (error instanceof Error) return failure(["transient", "unknown"], `${error.name}: ${error.message}`);
  const text = JSON.stringify(error) ?? String(error);
  const status = typeof error === "object" && error !== null && "code" in error ? Number(error.code) : NaN;
  return failure(verdict(status >= 400 && status < 600 ? status : undefined, text), text);
}

function verdict(status: number | undefined, words: string): Verdict {
  for (const [pattern, found] of byWords) if (pattern.test(words)) return found;
  if (status === undefined || status >= 500) return ["transient", "unavailable"];
  return byStatus[status] ?? ["permanent", "invalid_request"];
}

function failure(
  [kind, code]: Verdict,
  detail: string,
  extra: Pick<Failure, "requestId" | "retryAfterMs"> = { requestId: null, retryAfterMs: null },
): Failure {
  return { kind, code, detail: detail.slice(0, MAX_DETAIL_LENGTH), ...extra };
}

function requestIdOf(headers: Record<string, string> | undefined): string | null {
  return headers?.["x-request-id"] ?? headers?.["request-id"] ?? headers?.["cf-ray"] ?? null;
}
