import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { LanguageModelV4Prompt, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import type { Config } from "@agent-engine/core/config/env.ts";
import type { ProviderKeys } from "@agent-engine/core/models/provider-keys.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import type { ModelProvider } from "../engine/model-provider.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { followKeys } from "./follow-keys.ts";
import { resolveModel } from "./resolve-model.ts";
import { createVendorFetch } from "./vendor-fetch.ts";

const prompt: LanguageModelV4Prompt = [
  { role: "system", content: "Be brief." },
  { role: "user", content: [{ type: "text", text: "Hello" }] },
];
const noKeys: Config["models"] = {
  openaiApiKey: null,
  openaiBaseUrl: null,
  openaiModel: "gpt-test",
  anthropicApiKey: null,
  anthropicModel: "claude-test",
};

let server: ModelServer;
const vendor = createVendorFetch();
const egress = createEgress({ allowLoopback: true });
beforeAll(async () => {
  server = await startModelServer({ tokens: 3 });
});
afterEach(() => server.setScript(null));
afterAll(async () => {
  await server.stop();
  await Promise.all([vendor.close(), egress.close()]);
});

function model(choice: Partial<ModelChoice>, keys: Partial<Config["models"]> = {}): ModelProvider {
  const complete: ModelChoice = { provider: "auto", name: null, settings: {}, ...choice };
  return resolveModel(complete, {
    models: { ...noKeys, ...keys },
    egress,
    vendorFetch: vendor.fetch,
    extractivePace: { wordMs: 0 },
  });
}

async function read(provider: ModelProvider, options: { abortSignal?: AbortSignal } = {}) {
  const parts: LanguageModelV4StreamPart[] = [];
  const answer = await provider.stream({ prompt, ...options });
  for (let read = await answer.read(); read !== null; read = await answer.read()) parts.push(...read);
  const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("");
  return { parts, text, finish: parts.find((part) => part.type === "finish") };
}

async function failureOf(provider: ModelProvider) {
  try {
    const { parts } = await read(provider);
    const error = parts.find((part) => part.type === "error");
    return error ? provider.classifyFailure(error.error) : null;
  } catch (error) {
    return provider.classifyFailure(error);
  }
}

describe("which model a run gets", () => {
  it.each<[string, Partial<ModelChoice>, Partial<Config["models"]>, string, string]>([
    ["auto without a key", {}, {}, "extractive", "extractive"],
    ["auto with OpenAI's key", {}, { openaiApiKey: "k", anthropicApiKey: "k" }, "openai", "gpt-test"],
    ["auto with a base URL alone", {}, { openaiBaseUrl: "http://127.0.0.1/v1" }, "openai", "gpt-test"],
    ["auto with Anthropic's key", {}, { anthropicApiKey: "k" }, "anthropic", "claude-test"],
    ["a named model", { provider: "openai", name: "gpt-x" }, { openaiApiKey: "k" }, "openai", "gpt-x"],
    ["extractive by choice", { provider: "extractive" }, { openaiApiKey: "k" }, "extractive", "extractive"],
  ])("%s", (_, choice, keys, provider, modelId) => {
    expect(model(choice, keys)).toMatchObject({ provider, modelId });
  });

  it.each<Partial<ModelChoice>>([
    { provider: "openai" },
    { provider: "anthropic" },
    { provider: "openai-compatible", name: "m" },
    { provider: "openai-compatible", settings: { baseUrl: "http://127.0.0.1:1/v1" } },
  ])("fails for good when it is not set up: %o", async (choice) => {
    expect(await failureOf(model(choice))).toMatchObject({ kind: "permanent", code: "not_configured" });
  });
});

describe("a tenant's own keys", () => {
  const asked: Request[] = [];
  const fetching: typeof globalThis.fetch = async (input, init) => {
    asked.push(new Request(input, init));
    const { authorization, "x-api-key": key } = Object.fromEntries(asked.at(-1)?.headers ?? []);
    const message = `Incorrect API key provided: ${authorization ?? key}`;
    return Response.json({ type: "error", error: { message, type: "authentication_error" } }, { status: 401 });
  };
  const own = (provider: ProviderKeys[number]["provider"], apiKey: string | null, baseUrl: string | null = null) => ({
    provider,
    apiKey,
    baseUrl,
  });
  const open = (choice: Partial<ModelChoice>, keys: ProviderKeys, models: Partial<Config["models"]> = {}) =>
    resolveModel(
      { provider: "auto", name: null, settings: {}, ...choice },
      { models: { ...noKeys, ...models }, keys, egress: { ...egress, fetch: fetching }, vendorFetch: fetching },
    );
  const sent = async (provider: ModelProvider) => {
    asked.splice(0);
    const failure = await failureOf(provider);
    const [request] = asked;
    const key = request?.headers.get("authorization") ?? request?.headers.get("x-api-key") ?? null;
    return { to: request ? new URL(request.url).origin : null, key, failure };
  };
  const installation = { openaiApiKey: "installation-key", anthropicApiKey: "installation-key" };

  it.each<[string, Partial<ModelChoice>, ProviderKeys, Partial<Config["models"]>, string | null, string | null]>([
    [
      "OpenAI's, before the installation's",
      { provider: "openai" },
      [own("openai", "own-key-1")],
      installation,
      "https://api.openai.com",
      "Bearer own-key-1",
    ],
    [
      "the newest of several",
      { provider: "openai" },
      [own("openai", "newest-1"), own("openai", "older-1")],
      {},
      "https://api.openai.com",
      "Bearer newest-1",
    ],
    [
      "Anthropic's, before the installation's",
      { provider: "anthropic" },
      [own("anthropic", "own-key-1")],
      installation,
      "https://api.anthropic.com",
      "own-key-1",
    ],
    [
      "for auto, with none of the installation's",
      {},
      [own("anthropic", "own-key-1")],
      {},
      "https://api.anthropic.com",
      "own-key-1",
    ],
    [
      "for auto, before the installation's other vendor",
      {},
      [own("anthropic", "own-key-1")],
      installation,
      "https://api.anthropic.com",
      "own-key-1",
    ],
    [
      "none of another vendor",
      { provider: "openai" },
      [own("anthropic", "own-key-1")],
      installation,
      "https://api.openai.com",
      "Bearer installation-key",
    ],
    [
      "for the address it is bound to",
      { provider: "openai-compatible", name: "m", settings: { baseUrl: "https://a.example/v1/" } },
      [own("openai-compatible", "own-key-1", "https://a.example/v1")],
      installation,
      "https://a.example",
      "Bearer own-key-1",
    ],
    [
      "for no other address",
      { provider: "openai-compatible", name: "m", settings: { baseUrl: "https://evil.example/v1" } },
      [own("openai-compatible", "own-key-1", "https://a.example/v1"), own("openai", "own-key-2")],
      installation,
      "https://evil.example",
      null,
    ],
    [
      "nothing instead of one that cannot be opened",
      { provider: "openai" },
      [own("openai", null)],
      installation,
      null,
      null,
    ],
  ])("%s", async (_what, choice, keys, models, to, key) => {
    expect(await sent(open(choice, keys, models))).toMatchObject({ to, key });
  });

  it("are not in what a vendor's refusal leaves behind", async () => {
    for (const provider of ["openai", "anthropic"] as const) {
      const { failure, key } = await sent(open({ provider }, [own(provider, "own-key-12345")]));
      expect(key).toContain("own-key-12345");
      expect(failure?.detail).toContain("[redacted]");
      expect(JSON.stringify(failure)).not.toContain("own-key-12345");
    }
  });

  it("are followed from turn to turn, while the provider stays", async () => {
    let keys: ProviderKeys = [own("openai", "first-key")];
    const model = await followKeys(
      async () => keys,
      (now, provider) => open(provider === undefined ? {} : { provider }, now),
    );
    expect(model.provider).toBe("openai");
    expect(await sent(model)).toMatchObject({ key: "Bearer first-key" });
    keys = [own("openai", "second-key"), own("anthropic", "another")];
    expect(await sent(model)).toMatchObject({ key: "Bearer second-key" });
    keys = [own("anthropic", "another")];
    expect(await sent(model)).toMatchObject({ to: null, failure: { kind: "permanent", code: "not_configured" } });
  });
});

describe.each<[string, () => ModelProvider]>([
  ["openai", () => model({}, { openaiBaseUrl: server.url })],
  [
    "openai-compatible",
    () => model({ provider: "openai-compatible", name: "local", settings: { baseUrl: server.url } }),
  ],
])("%s over HTTP", (_, open) => {
  it("streams text and counts tokens", async () => {
    const { text, finish } = await read(open());
    expect(text).toBe("token0 token1 token2 ");
    expect(finish).toMatchObject({ finishReason: { unified: "stop" }, usage: { outputTokens: { total: 3 } } });
  });

  it("streams a tool call", async () => {
    server.enqueue({ steps: [{ kind: "toolCall", name: "look", arguments: { id: 7 } }] });
    const { parts, finish } = await read(open());
    expect(parts.find((part) => part.type === "tool-call")).toMatchObject({ toolName: "look", input: '{"id":7}' });
    expect(finish).toMatchObject({ finishReason: { unified: "tool-calls" } });
  });

  it("carries every character, however the bytes are cut", async () => {
    server.enqueue({ steps: [{ kind: "splitBytes", content: "Größe 😀 €" }] });
    expect((await read(open())).text).toBe("Größe 😀 €");
  });

  it.each([
    ["rateLimited", "transient", "rate_limited"],
    ["serverError", "transient", "unavailable"],
    ["overloaded", "transient", "unavailable"],
    ["badKey", "permanent", "not_authorized"],
    ["cutAtOnce", "transient", "connection_failed"],
    ["cutMidStream", "transient", "cut_off"],
    ["garbageJson", "transient", "garbage"],
    ["errorInStream", "transient", "unavailable"],
  ] as const)("classifies %s", async (fault, kind, code) => {
    server.enqueue(modelFaults[fault]);
    expect(await failureOf(open())).toMatchObject({ kind, code });
  });

  it("asks once: retrying is the engine's", async () => {
    const before = server.received();
    server.enqueue(modelFaults.serverError, modelFaults.serverError);
    await failureOf(open());
    expect(server.received()).toBe(before + 1);
    await failureOf(open());
    expect(server.received()).toBe(before + 2);
  });

  it("is aborted upstream", async () => {
    server.enqueue({ steps: [{ kind: "text", text: "one two" }, { kind: "stall" }] });
    const abort = new AbortController();
    const answer = await open().stream({ prompt, abortSignal: abort.signal });
    await answer.read();
    abort.abort();
    await expect(
      (async () => {
        while ((await answer.read()) !== null);
      })(),
    ).rejects.toMatchObject({ name: "AbortError" });
  });

  it("ends a pending read when it is cancelled", async () => {
    server.enqueue({ steps: [{ kind: "stall" }] });
    const answer = await open().stream({ prompt });
    const reading = answer.read();
    await answer.cancel("enough");
    expect(await reading).toBeNull();
  });
});

describe("anthropic", () => {
  const events = [
    { type: "message_start", message: { id: "m", model: "claude-test", usage: { input_tokens: 9, output_tokens: 0 } } },
    { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
    { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "Hello" } },
    { type: "content_block_stop", index: 0 },
    { type: "content_block_start", index: 1, content_block: { type: "tool_use", id: "t1", name: "look", input: {} } },
    { type: "content_block_delta", index: 1, delta: { type: "input_json_delta", partial_json: '{"id":7}' } },
    { type: "content_block_stop", index: 1 },
    { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: { output_tokens: 4 } },
    { type: "message_stop" },
  ];
  const asks: Request[] = [];
  const answering = (status: number, body: string, type = "text/event-stream") =>
    resolveModel(
      { provider: "anthropic", name: null, settings: {} },
      {
        models: { ...noKeys, anthropicApiKey: "key" },
        egress,
        vendorFetch: async (input, init) => {
          asks.push(new Request(input, init));
          return new Response(body, { status, headers: { "content-type": type, "request-id": "req_7" } });
        },
      },
    );

  it("streams text, tool calls and tokens", async () => {
    const stream = events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
    const { parts, text, finish } = await read(answering(200, stream));
    expect(text).toBe("Hello");
    expect(parts.find((part) => part.type === "tool-call")).toMatchObject({ toolName: "look", input: '{"id":7}' });
    expect(finish).toMatchObject({ finishReason: { unified: "tool-calls" }, usage: { outputTokens: { total: 4 } } });
    expect(asks[0]?.url).toBe("https://api.anthropic.com/v1/messages");
    expect(asks[0]?.headers.get("x-api-key")).toBe("key");
  });

  it("classifies its errors, before and inside the stream", async () => {
    const overloaded = { type: "error", error: { type: "overloaded_error", message: "Overloaded" } };
    const refused = answering(529, JSON.stringify(overloaded), "application/json");
    expect(await failureOf(refused)).toMatchObject({ kind: "transient", code: "unavailable", requestId: "req_7" });
    const begun = events.slice(0, 3).map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    const broken = answering(200, `${begun.join("")}event: error\ndata: ${JSON.stringify(overloaded)}\n\n`);
    expect(await failureOf(broken)).toMatchObject({ kind: "transient", code: "unavailable" });
  });
});

describe("a tenant's own address", () => {
  it("is refused when it is private", async () => {
    const choice: ModelChoice = {
      provider: "openai-compatible",
      name: "m",
      settings: { baseUrl: "http://169.254.169.254/v1" },
    };
    const provider = resolveModel(choice, { models: noKeys, egress, vendorFetch: vendor.fetch });
    expect(await failureOf(provider)).toMatchObject({ kind: "permanent", code: "address_refused" });
  });
});

describe("the vendors' connections", () => {
  it("serve as many streams at once as there are runs", async () => {
    server.setScript(() => ({ gapMs: 5, steps: [{ kind: "tokens", count: 20 }] }));
    const provider = model({}, { openaiBaseUrl: server.url });
    const answers = await Promise.all(Array.from({ length: 200 }, () => read(provider)));
    expect(answers.every((answer) => answer.text.endsWith("token19 "))).toBe(true);
  });
});
