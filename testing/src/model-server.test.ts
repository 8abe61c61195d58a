import { createOpenAI } from "@ai-sdk/openai";
import { jsonSchema, streamText, tool } from "ai";
import { afterEach, describe, expect, it } from "vitest";
import { say } from "./model-directive.ts";
import { modelFaults } from "./model-faults.ts";
import { numberedText } from "./model-script.ts";
import { startModelServer, type ModelServer, type ModelServerOptions } from "./model-server.ts";
import { preciseNowMs, readStamps } from "./stamps.ts";
import { readSse } from "./sse-client.ts";
import { waitFor } from "./wait-for.ts";

const servers: ModelServer[] = [];

async function start(options?: ModelServerOptions): Promise<ModelServer> {
  const server = await startModelServer(options);
  servers.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
});

function post(server: ModelServer, prompt: string, extra: object = {}, signal?: AbortSignal): Promise<Response> {
  return fetch(`${server.url}/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "fake-model", messages: [{ role: "user", content: prompt }], ...extra }),
    ...(signal ? { signal } : {}),
  });
}

interface Chunk {
  choices: { delta: { content?: string; role?: string; tool_calls?: unknown[] }; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
}

async function chunksOf(response: Response): Promise<{ chunks: Chunk[]; done: boolean }> {
  const chunks: Chunk[] = [];
  let done = false;
  for await (const { data } of readSse(response)) {
    if (data === "[DONE]") done = true;
    else chunks.push(JSON.parse(data) as Chunk);
  }
  return { chunks, done };
}

const contentOf = (chunks: Chunk[]): string => chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("");

describe("a raw client", () => {
  describe("whose conversation has calls", () => {
    const asked = {
      role: "assistant",
      content: null,
      tool_calls: ["a", "b"].map((id) => ({ id, type: "function", function: { name: "f", arguments: "{}" } })),
    };
    const answer = (id: string) => ({ role: "tool", tool_call_id: id, content: "ok" });
    const user = { role: "user", content: "And now?" };
    it.each<[string, object[], number]>([
      ["all answered", [user, asked, answer("b"), answer("a"), user], 200],
      ["one of them not", [user, asked, answer("a"), user], 400],
      ["none at the end", [user, asked], 400],
      ["answered later", [user, asked, answer("a"), user, answer("b")], 400],
      ["answered twice", [user, asked, answer("a"), answer("b"), answer("b"), user], 400],
      ["that nobody asked for", [user, answer("a"), user], 400],
    ])("%s: it is taken or refused as OpenAI does", async (_, messages, status) => {
      const response = await post(await start(), "", { messages });
      expect(response.status).toBe(status);
      if (status === 400) expect(await response.text()).toMatch(/tool_call/);
    });
  });

  it("holds an answer where the script says so until the request is released", async () => {
    const server = await start();
    server.enqueue({ steps: [{ kind: "text", text: "one " }, { kind: "hold" }, { kind: "text", text: "two" }] });
    const response = await post(server, "hi", { stream: true });
    const record = server.requests[0];
    expect(record?.tokensSent).toBe(1);
    record?.release();
    expect(contentOf((await chunksOf(response)).chunks)).toBe("one two");
  });

  it("streams the default answer as chunks, a finish reason and [DONE]", async () => {
    const server = await start({ tokens: 3 });
    const response = await post(server, "hi", { stream: true });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    const { chunks, done } = await chunksOf(response);
    expect(done).toBe(true);
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(contentOf(chunks)).toBe("token0 token1 token2 ");
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.every((chunk) => !("usage" in chunk))).toBe(true);
  });

  it("sends usage in a last chunk without choices when asked to", async () => {
    const server = await start({ tokens: 5 });
    const { chunks } = await chunksOf(
      await post(server, "hello there", { stream: true, stream_options: { include_usage: true } }),
    );
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.at(-1)?.choices).toEqual([]);
    expect(chunks.at(-1)?.usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 5, total_tokens: 8 });
  });

  it("answers whole when not streaming", async () => {
    const server = await start({ text: "All in one." });
    const body = (await (await post(server, "hi")).json()) as { choices: { message: object }[]; usage: object };
    expect(body.choices[0]?.message).toMatchObject({ role: "assistant", content: "All in one." });
    expect(body.usage).toMatchObject({ completion_tokens: 3 });
  });

  it("lists its models and refuses what is not a chat request as OpenAI does", async () => {
    const server = await start();
    const models = (await (await fetch(`${server.url}/models`)).json()) as { data: { id: string }[] };
    expect(models.data[0]?.id).toBe("fake-model");
    const bad = await fetch(`${server.url}/chat/completions`, { method: "POST", body: "{" });
    expect(bad.status).toBe(400);
    expect(await bad.json()).toMatchObject({ error: { type: "invalid_request_error" } });
    expect((await fetch(`${server.url}/nothing`)).status).toBe(404);
  });

  it("stamps tokens with the time they were written, at the pace asked for", async () => {
    const server = await start({ stamped: true, tokens: 5, gapMs: 10 });
    const before = preciseNowMs();
    const { chunks } = await chunksOf(await post(server, "hi", { stream: true }));
    const stamps = readStamps(contentOf(chunks));
    expect(stamps.map((stamp) => stamp.index)).toEqual([0, 1, 2, 3, 4]);
    const times = stamps.map((stamp) => stamp.atMs);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect((times[4] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(35);
    expect(times[0]).toBeGreaterThan(before - 1);
  });

  it("records when the client goes away, and after how many tokens", async () => {
    const server = await start({ tokens: 10_000, gapMs: 5 });
    const abort = new AbortController();
    const response = await post(server, "hi", { stream: true }, abort.signal);
    const reader = response.body?.getReader();
    await reader?.read();
    await waitFor(() => (server.requests[0]?.tokensSent ?? 0) > 3, { describe: "some tokens sent" });
    abort.abort();
    await server.requests[0]?.ended;
    expect(server.requests[0]?.end).toBe("client_gone");
    expect(server.requests[0]?.tokensSent).toBeLessThan(10_000);
  });

  it("takes its script from the queue, from a function and from the message, by turn and attempt", async () => {
    const server = await start({ text: "default" });
    const ask = async (prompt: string) =>
      contentOf((await chunksOf(await post(server, prompt, { stream: true }))).chunks);
    server.enqueue({ steps: [{ kind: "text", text: "queued" }] });
    expect(await ask("a")).toBe("queued");
    server.setScript((request) =>
      request.model === "fake-model" ? { steps: [{ kind: "text", text: "chosen" }] } : null,
    );
    expect(await ask("a")).toBe("chosen");
    const prompt = say("b", [modelFaults.serverError, { steps: [{ kind: "text", text: "second attempt" }] }]);
    expect((await post(server, prompt, { stream: true })).status).toBe(500);
    expect(await ask(prompt)).toBe("second attempt");
    expect(server.requests.map((request) => request.attempt)).toEqual([0, 0, 0, 1]);
    expect((await post(server, "@@model {}")).status).toBe(400);
  });

  it("refuses connections until told otherwise", async () => {
    const server = await start();
    await server.refuseConnections();
    await expect(post(server, "hi")).rejects.toThrow("fetch failed");
    await server.acceptConnections();
    expect((await post(server, "hi")).status).toBe(200);
  });
});

describe("faults", () => {
  it("answers 429 with Retry-After", async () => {
    const server = await start();
    server.enqueue(modelFaults.rateLimited);
    const response = await post(server, "hi", { stream: true });
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("1");
    expect(await response.json()).toMatchObject({ error: { code: "rate_limit_exceeded" } });
    expect(server.requests[0]?.end).toBe("fault");
  });

  it.each(["cutMidStream", "notSse"] as const)(
    "%s: the connection breaks after the tokens before it",
    async (fault) => {
      const server = await start();
      server.enqueue(modelFaults[fault]);
      const response = await post(server, "hi", { stream: true });
      let text = "";
      const decoder = new TextDecoder();
      await expect(async () => {
        for await (const part of response.body ?? []) text += decoder.decode(part, { stream: true });
      }).rejects.toThrow();
      expect(text).toContain('"but "');
    },
  );

  it("cuts before any header", async () => {
    const server = await start();
    server.enqueue(modelFaults.cutAtOnce);
    await expect(post(server, "hi", { stream: true }).then((response) => response.text())).rejects.toThrow();
  });

  it("stalls: sends its tokens and then nothing until the client gives up", async () => {
    const server = await start();
    server.enqueue(modelFaults.stallMidStream);
    const abort = new AbortController();
    const response = await post(server, "hi", { stream: true }, abort.signal);
    const reader = response.body?.getReader();
    await reader?.read();
    expect(server.requests[0]?.end).toBeNull();
    abort.abort();
    await server.requests[0]?.ended;
    expect(server.requests[0]?.end).toBe("client_gone");
    expect(server.requests[0]?.tokensSent).toBe(4);
  });

  it("ends without a finish reason, with garbage, or with an error object", async () => {
    const server = await start();
    server.enqueue(modelFaults.endsWithoutFinish, modelFaults.garbageJson, modelFaults.errorInStream);
    const ended = await chunksOf(await post(server, "hi", { stream: true }));
    expect(ended.done).toBe(false);
    expect(ended.chunks.some((chunk) => chunk.choices[0]?.finish_reason)).toBe(false);
    const garbage = await (await post(server, "hi", { stream: true })).text();
    expect(garbage).toContain('"choices":[{"del\n\n');
    const failed = await (await post(server, "hi", { stream: true })).text();
    expect(failed).toContain('"code":"server_error"');
    expect(failed).not.toContain("[DONE]");
  });

  it("splits a character between deltas, and between writes", async () => {
    const server = await start();
    server.enqueue(
      { steps: [{ kind: "splitPair", character: "😀" }] },
      { steps: [{ kind: "splitBytes", content: "größer 😀" }] },
      { steps: [{ kind: "delta", content: "x".repeat(1_000_000) }] },
    );
    const pair = await chunksOf(await post(server, "hi", { stream: true }));
    expect(pair.chunks.slice(1, 3).map((chunk) => chunk.choices[0]?.delta.content)).toEqual(["\ud83d", "\ude00"]);
    const bytes = await chunksOf(await post(server, "hi", { stream: true }));
    expect(contentOf(bytes.chunks)).toBe("größer 😀");
    const huge = await chunksOf(await post(server, "hi", { stream: true }));
    expect(contentOf(huge.chunks)).toHaveLength(1_000_000);
  });
});

describe("the AI SDK's client", () => {
  const weather = tool({
    inputSchema: jsonSchema<{ city: string }>({ type: "object", properties: { city: { type: "string" } } }),
  });

  async function ask(server: ModelServer, prompt: string) {
    const errors: unknown[] = [];
    const result = streamText({
      model: createOpenAI({ baseURL: server.url, apiKey: "sk-fake" }).chat("fake-model"),
      prompt,
      tools: { weather },
      maxRetries: 0,
      onError: ({ error }) => void errors.push(error),
    });
    const parts: { type: string; [field: string]: unknown }[] = [];
    try {
      for await (const part of result.stream) parts.push(part);
    } catch (error) {
      // A broken connection ends the iteration instead of arriving as a part.
      errors.push(error);
    }
    return {
      parts,
      errors,
      text: parts.map((part) => (part.type === "text-delta" ? String(part["text"]) : "")).join(""),
    };
  }

  it("reads text, the finish reason and usage", async () => {
    const server = await start({ tokens: 50 });
    const { parts, text } = await ask(server, "hello");
    expect(text).toBe(numberedText(50));
    expect(parts.at(-1)).toMatchObject({ type: "finish", finishReason: "stop", totalUsage: { outputTokens: 50 } });
    expect(server.requests[0]).toMatchObject({ end: "completed", headers: { authorization: "Bearer sk-fake" } });
  });

  it("reads tool calls from their fragments", async () => {
    const server = await start();
    const { parts } = await ask(
      server,
      say("weather?", {
        steps: [
          { kind: "text", text: "Let me look. " },
          { kind: "toolCall", name: "weather", arguments: { city: "Zürich" } },
          { kind: "toolCall", name: "weather", arguments: { city: "Bern" }, id: "call_b" },
        ],
      }),
    );
    const calls = parts.filter((part) => part.type === "tool-call");
    expect(calls.map((call) => call["input"])).toEqual([{ city: "Zürich" }, { city: "Bern" }]);
    expect(calls[1]?.["toolCallId"]).toBe("call_b");
    expect(parts.at(-1)).toMatchObject({ finishReason: "tool-calls" });
  });

  it.each(["serverError", "rateLimited", "badKey", "cutMidStream", "garbageJson", "errorInStream"] as const)(
    "%s arrives as an error",
    async (fault) => {
      const server = await start();
      server.enqueue(modelFaults[fault]);
      expect((await ask(server, "hi")).errors).not.toEqual([]);
    },
  );
});
