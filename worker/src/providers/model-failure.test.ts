import { APICallError, InvalidResponseDataError, JSONParseError } from "@ai-sdk/provider";
import { createProviderStreamError } from "@ai-sdk/provider-utils";
import { describe, expect, it } from "vitest";
import { ModelStalled, ModelStreamCut } from "../engine/model-provider.ts";
import { classifyModelFailure, ModelNotConfigured } from "./model-failure.ts";

const NOW = Date.UTC(2026, 0, 1);
const api = (
  statusCode: number | undefined,
  body = "",
  responseHeaders: Record<string, string> = {},
  cause?: unknown,
) =>
  new APICallError({
    message: "m",
    url: "u",
    requestBodyValues: {},
    statusCode,
    responseBody: body,
    responseHeaders,
    cause,
  });
const coded = (code: string, extra: object = {}) => Object.assign(new Error("low level"), { code, ...extra });

const table: [string, unknown, string, string][] = [
  ["429", api(429), "transient", "rate_limited"],
  ["429, quota used up", api(429, '{"error":{"code":"insufficient_quota"}}'), "needs_person", "quota_exhausted"],
  ["402", api(402), "needs_person", "quota_exhausted"],
  ["500", api(500), "transient", "unavailable"],
  ["502 with a page", api(502, "<html>Bad Gateway</html>"), "transient", "unavailable"],
  ["503", api(503), "transient", "unavailable"],
  ["529 overloaded", api(529), "transient", "unavailable"],
  ["408", api(408), "transient", "timeout"],
  ["409", api(409), "transient", "unavailable"],
  ["400", api(400), "permanent", "invalid_request"],
  ["400, too long", api(400, '{"error":{"code":"context_length_exceeded"}}'), "permanent", "context_too_long"],
  [
    "400, too long (Anthropic)",
    api(400, "prompt is too long: 208310 tokens > 200000"),
    "permanent",
    "context_too_long",
  ],
  ["400, filtered", api(400, '{"error":{"code":"content_filter"}}'), "permanent", "content_filtered"],
  ["400, no credit", api(400, "Your credit balance is too low to access the API"), "needs_person", "quota_exhausted"],
  ["401", api(401), "permanent", "not_authorized"],
  ["403", api(403), "permanent", "not_authorized"],
  ["404", api(404), "permanent", "model_not_found"],
  ["413", api(413), "permanent", "context_too_long"],
  ["422", api(422), "permanent", "invalid_request"],
  ["a redirect", api(302), "permanent", "invalid_request"],
  ["connection refused", api(undefined, "", {}, coded("ECONNREFUSED")), "transient", "connection_failed"],
  ["a stream cut mid-way", api(200, "", {}, coded("UND_ERR_SOCKET")), "transient", "cut_off"],
  ["an answer that is no stream", api(200), "transient", "garbage"],
  ["a chunk that is no JSON", new JSONParseError({ text: "{", cause: null }), "transient", "garbage"],
  ["a chunk without its name", new InvalidResponseDataError({ data: {} }), "transient", "garbage"],
  [
    "an overload inside the stream",
    createProviderStreamError({ message: "m", statusCode: 529, data: {} }),
    "transient",
    "unavailable",
  ],
  [
    "a stream error with status 400",
    createProviderStreamError({ message: "m", statusCode: 400, data: {} }),
    "permanent",
    "invalid_request",
  ],
  ["a bare error object in the stream", { message: "no", code: 503 }, "transient", "unavailable"],
  ["a bare error text in the stream", "maximum context length is 8192 tokens", "permanent", "context_too_long"],
  ["silence", new ModelStalled(20_000), "transient", "stalled"],
  ["an end without a reason", new ModelStreamCut(), "transient", "cut_off"],
  ["a reset", new TypeError("terminated", { cause: coded("ECONNRESET") }), "transient", "connection_failed"],
  ["a timeout", new DOMException("late", "TimeoutError"), "transient", "timeout"],
  ["no key", new ModelNotConfigured("OPENAI_API_KEY is not set."), "permanent", "not_configured"],
  ["a bug", new RangeError("odd"), "transient", "unknown"],
  ["nothing", undefined, "transient", "unavailable"],
];

describe("what a model's failure means", () => {
  it.each(table)("%s", (_, error, kind, code) => {
    expect(classifyModelFailure(error, NOW)).toMatchObject({ kind, code });
  });

  it("carries the vendor's request id and how long it asks us to wait", () => {
    const of = (headers: Record<string, string>) => classifyModelFailure(api(429, "", headers), NOW);
    expect(of({ "x-request-id": "req_1", "retry-after": "7" })).toMatchObject({
      requestId: "req_1",
      retryAfterMs: 7_000,
    });
    expect(of({ "request-id": "req_2", "retry-after-ms": "1250" })).toMatchObject({
      requestId: "req_2",
      retryAfterMs: 1_250,
    });
    expect(of({ "retry-after": new Date(NOW + 5_000).toUTCString() })).toMatchObject({ retryAfterMs: 5_000 });
    expect(of({ "retry-after": "soon" })).toMatchObject({ requestId: null, retryAfterMs: null });
  });

  it("is told to staff in at most 500 characters", () => {
    expect(classifyModelFailure("x".repeat(9_000), NOW).detail).toHaveLength(500);
  });
});
