/** Reads what a model's SDK, stream or connection threw; what it means is in `../engine/failure-table.ts`. */
import { APICallError, JSONParseError, InvalidResponseDataError, TypeValidationError } from "@ai-sdk/provider";
import { isProviderStreamError } from "@ai-sdk/provider-utils";
import { retryAfterMs, type Failure } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf, rowOfAnswer, type FailureId } from "@agent-engine/core/toolkits/failure-table.ts";
import { ModelStalled, ModelStreamCut } from "../engine/model-provider.ts";
import { networkError, type NetworkError } from "@agent-engine/core/toolkits/network-error.ts";

/** No key, no model name: the agent asks for a model that is not set up. */
export class ModelNotConfigured extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ModelNotConfigured";
  }
}

/** Never throws; an error it does not know is transient: a model turn has no effect outside. */
export function classifyModelFailure(error: unknown, nowMs: number): Failure {
  if (error instanceof ModelNotConfigured) return failureOf("model.not_configured", error.message);
  if (error instanceof ModelStalled) return failureOf("model.stalled", error.message);
  if (error instanceof ModelStreamCut) {
    const network = networkError(error.cause);
    return failureOf("model.cut_off", network ? wordsOf(network) : error.message);
  }
  if (APICallError.isInstance(error)) return apiFailure(error, nowMs);
  if (isProviderStreamError(error)) {
    const words = `${error.type ?? ""} ${error.code ?? ""} ${error.message}`;
    return failureOf(answered(error.statusCode, words), error.message);
  }
  if (JSONParseError.isInstance(error) || TypeValidationError.isInstance(error)) {
    return failureOf("model.garbage", error.message);
  }
  if (InvalidResponseDataError.isInstance(error)) return failureOf("model.garbage", error.message);
  const network = networkError(error);
  if (network) return failureOf(unreached(network), wordsOf(network));
  if (error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")) {
    return failureOf("model.timeout", error.message);
  }
  return frameFailure(error);
}

function apiFailure(error: APICallError, nowMs: number): Failure {
  const headers = error.responseHeaders;
  const extra = { requestId: requestIdOf(headers), retryAfterMs: retryAfterMs(headers, nowMs) };
  const network = networkError(error.cause);
  if (error.statusCode === undefined) {
    if (network) return failureOf(unreached(network), wordsOf(network), extra);
    return failureOf("model.connection_failed", error.message, extra);
  }
  if (error.statusCode < 300) {
    // The answer had begun.
    if (network) return failureOf("model.cut_off", wordsOf(network), extra);
    return failureOf("model.garbage", error.message, extra);
  }
  const words = `${error.message} ${error.responseBody ?? ""}`.slice(0, 4_000);
  return failureOf(answered(error.statusCode, words), `${error.statusCode} ${error.message}`, extra);
}

function unreached(network: NetworkError): FailureId {
  return network.code === "EGRESS_REFUSED" ? "model.address_refused" : "model.connection_failed";
}

function wordsOf(network: NetworkError): string {
  return `${network.code}: ${network.message}`;
}

/** An error object where a chunk should be, as OpenAI-compatible servers send it: a text, or an object with one. */
function frameFailure(error: unknown): Failure {
  if (typeof error === "string") return failureOf(answered(undefined, error), error);
  if (error instanceof Error) return failureOf("model.unknown", `${error.name}: ${error.message}`);
  const text = JSON.stringify(error) ?? String(error);
  const status = typeof error === "object" && error !== null && "code" in error ? Number(error.code) : NaN;
  return failureOf(answered(status >= 400 && status < 600 ? status : undefined, text), text);
}

function answered(status: number | undefined, words: string): FailureId {
  const row = rowOfAnswer("model", status, words);
  if (row) return row;
  return status === undefined || status >= 500 ? "model.unavailable" : "model.invalid_request";
}

function requestIdOf(headers: Record<string, string> | undefined): string | null {
  return headers?.["x-request-id"] ?? headers?.["request-id"] ?? headers?.["cf-ray"] ?? null;
}
