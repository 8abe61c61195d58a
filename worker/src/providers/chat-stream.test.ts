import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chatParts } from "./chat-stream.ts";
import type { CallDelta } from "./chat-calls.ts";

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`;
const delta = (value: object, finish: string | null = null) =>
  event({ id: "c", choices: [{ index: 0, delta: value, finish_reason: finish }] });
const text = (content: string) => delta({ content });
const call = (...calls: CallDelta[]) => delta({ tool_calls: calls });
const stop =
  delta({}, "stop") +
  event({ id: "c", choices: [], usage: { prompt_tokens: 5, completion_tokens: 3 } }) +
  "data: [DONE]\n\n";

function bodyOf(reads: readonly (string | Uint8Array)[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const read of reads) controller.enqueue(typeof read === "string" ? encoder.encode(read) : read);
      controller.close();
    },
  });
}

async function read(...reads: (string | Uint8Array)[]): Promise<LanguageModelV4StreamPart[]> {
  const answer = chatParts(bodyOf(reads));
  const parts: LanguageModelV4StreamPart[] = [];
  for (let next = await answer.read(); next !== null; next = await answer.read()) {
    expect(next.length).toBeGreaterThan(0);
    parts.push(...next);
  }
  return parts;
}

const texts = (parts: readonly LanguageModelV4StreamPart[]) =>
  parts.flatMap((part) => (part.type === "text-delta" ? [part.delta] : []));
const calls = (parts: readonly LanguageModelV4StreamPart[]) =>
  parts.flatMap((part) => (part.type === "tool-call" ? [[part.toolName, part.input]] : []));
const types = (parts: readonly LanguageModelV4StreamPart[]) => parts.map((part) => part.type);

describe("text", () => {
  it("that arrives together is one part, that arrives apart several", async () => {
    expect(texts(await read(text("a") + text("b"), text("c")))).toEqual(["ab", "c"]);
  });

  it("keeps its place among reasoning and calls", async () => {
    const parts = await read(
      delta({ reasoning_content: "hm" }) +
        text("a") +
        call({ index: 0, id: "1", function: { name: "t", arguments: "{}" } }) +
        text("b") +
        stop,
    );
    expect(types(parts)).toEqual([
      "reasoning-delta",
      "text-delta",
      "tool-input-start",
      "tool-input-delta",
      "text-delta",
      "tool-input-end",
      "tool-call",
      "finish",
    ]);
  });

  it("may come in pieces of content, or as a refusal", async () => {
    expect(texts(await read(delta({ content: [{ type: "text", text: "a" }] })))).toEqual(["a"]);
    const refused = await read(delta({ refusal: "I cannot." }) + stop);
    expect(texts(refused)).toEqual(["I cannot."]);
    expect(refused.at(-1)).toMatchObject({ finishReason: { unified: "content-filter" } });
  });
});

describe("the end", () => {
  it.each([
    ["stop", "stop"],
    ["length", "length"],
    ["content_filter", "content-filter"],
    ["tool_calls", "tool-calls"],
    ["odd", "other"],
  ])("%s", async (raw, unified) => {
    expect(await read(delta({}, raw))).toMatchObject([{ type: "finish", finishReason: { unified, raw } }]);
  });

  it("tells the tokens, also when they come with the last delta or not at all", async () => {
    expect((await read(text("a") + stop)).at(-1)).toMatchObject({
      usage: { inputTokens: { total: 5 }, outputTokens: { total: 3 } },
    });
    expect((await read(delta({}, "stop"))).at(-1)).toMatchObject({ usage: { inputTokens: { total: undefined } } });
  });

  it("is missing when the answer was cut", async () => {
    expect(types(await read(text("a")))).toEqual(["text-delta"]);
    expect(types(await read())).toEqual([]);
  });

  it("needs no empty line after it", async () => {
    expect(types(await read(text("a") + stop.trimEnd()))).toEqual(["text-delta", "finish"]);
  });
});

describe("tool calls", () => {
  const start = (index: number | null, id: string | null, name: string, args = ""): CallDelta => ({
    index,
    id,
    function: { name, arguments: args },
  });
  const more = (index: number | null, args: string, id?: string): CallDelta => ({
    index,
    ...(id ? { id } : {}),
    function: { arguments: args },
  });

  it.each<[string, CallDelta[], [string, string][]]>([
    ["in pieces", [start(0, "a", "t"), more(0, '{"x"'), more(0, ":1}")], [["t", '{"x":1}']]],
    [
      "side by side",
      [start(0, "a", "t"), start(1, "b", "u"), more(1, "{}"), more(0, "[]")],
      [
        ["t", "[]"],
        ["u", "{}"],
      ],
    ],
    [
      "without an index",
      [start(null, "a", "t"), more(null, "{}"), start(null, "b", "u", "{}")],
      [
        ["t", "{}"],
        ["u", "{}"],
      ],
    ],
    [
      "with the same index but ids of their own",
      [start(0, "a", "t", "{}"), start(0, "b", "u", "{}")],
      [
        ["t", "{}"],
        ["u", "{}"],
      ],
    ],
    ["with their id on every piece", [start(0, "a", "t"), more(0, "{}", "a")], [["t", "{}"]]],
    [
      "whose name comes late",
      [
        { index: 0, id: "a", function: { arguments: '{"x"' } },
        { index: 0, function: { name: "t", arguments: ":1}" } },
      ],
      [["t", '{"x":1}']],
    ],
    ["without arguments", [start(0, "a", "t")], [["t", ""]]],
    ["without a name", [{ index: 0, id: "a", function: { arguments: "{}" } }], []],
  ])("%s", async (_, deltas, expected) => {
    const parts = await read(...deltas.map((it) => call(it)), stop);
    expect(calls(parts)).toEqual(expected);
    const started = parts.flatMap((part) => (part.type === "tool-input-start" ? [part.id] : []));
    expect(new Set(started).size).toBe(expected.length);
  });
});

describe("what is not a chunk", () => {
  it.each([
    ["half of one", 'data: {"choices":[{"del\n\n'],
    ["another value", "data: 7\n\n"],
    ["nothing", "data: null\n\n"],
  ])("is an error: %s", async (_, rubbish) => {
    expect(types(await read(text("a") + rubbish))).toEqual(["text-delta", "error"]);
  });

  it("is an error when it says so", async () => {
    expect(await read(event({ error: { message: "no", code: "server_error" } }))).toEqual([
      { type: "error", error: { message: "no", code: "server_error" } },
    ]);
  });

  it.each([
    ["a comment", ": ping\n\n"],
    ["a named event", 'event: message\nid: 7\ndata: {"choices":[]}\n\n'],
    ["data without a blank", 'data:{"choices":[]}\n\n'],
    ["data in lines", 'data: {"choices":\ndata: []}\n\n'],
    ["empty lines", "\n\n\n"],
    ["a chunk without a delta", event({ choices: [{ index: 0 }] })],
  ])("passes: %s", async (_, extra) => {
    expect(types(await read(text("a") + extra + text("b") + stop))).toEqual(["text-delta", "finish"]);
  });

  it.each(["\r\n", "\r"])("may end its lines in %j, wherever it is cut", async (end) => {
    const bytes = new TextEncoder().encode((text("a") + text("b") + stop).replaceAll("\n", end));
    for (let cut = 1; cut < bytes.length; cut += 1) {
      expect(texts(await read(bytes.subarray(0, cut), bytes.subarray(cut))).join("")).toBe("ab");
    }
  });
});

it("reads what the SDK's own reader reads, wherever the bytes are cut", async () => {
  const word = fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 });
  const spoken = fc.array(
    fc.oneof(
      word.map((it) => ({ text: it })),
      word.map((it) => ({ thought: it })),
    ),
    { maxLength: 8 },
  );
  const called = fc.array(fc.record({ name: fc.constantFrom("t", "u"), pieces: fc.array(word, { maxLength: 3 }) }), {
    maxLength: 3,
  });
  await fc.assert(
    fc.asyncProperty(spoken, called, fc.array(fc.nat(5_000)), fc.boolean(), async (says, asks, cuts, isCut) => {
      const stream =
        says.map((it) => ("text" in it ? text(it.text) : delta({ reasoning_content: it.thought }))).join("") +
        asks
          .map(({ name, pieces }, index) => {
            const json = JSON.stringify({ said: pieces.join("") });
            const half = json.length >> 1;
            return (
              call({ index, id: `id${index}`, function: { name, arguments: json.slice(0, half) } }) +
              call({ index, function: { arguments: json.slice(half) } })
            );
          })
          .join("") +
        (isCut ? "" : stop);
      const bytes = new TextEncoder().encode(stream);
      const places = [...new Set([0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length])].sort(
        (a, b) => a - b,
      );
      const reads = places.slice(1).map((place, index) => bytes.subarray(places[index], place));
      expect(summary(await read(...reads))).toEqual(summary(await sdkParts(bodyOf(reads))));
    }),
    { numRuns: 200 },
  );
});

async function sdkParts(body: ReadableStream<Uint8Array>): Promise<LanguageModelV4StreamPart[]> {
  const fetch = async () => new Response(body, { headers: { "content-type": "text/event-stream" } });
  const model = createOpenAICompatible({ name: "x", baseURL: "http://x.example", fetch }).chatModel("m");
  const { stream } = await model.doStream({ prompt: [{ role: "user", content: [{ type: "text", text: "?" }] }] });
  const parts: LanguageModelV4StreamPart[] = [];
  for await (const part of stream as unknown as AsyncIterable<LanguageModelV4StreamPart>) parts.push(part);
  return parts;
}

function summary(parts: readonly LanguageModelV4StreamPart[]) {
  const finish = parts.find((part) => part.type === "finish");
  const reasoning = parts.map((part) => (part.type === "reasoning-delta" ? part.delta : "")).join("");
  // The SDK ends a cut answer with a `finish` of its own making.
  const isWhole = finish?.finishReason.unified !== undefined && finish.finishReason.unified !== "error";
  return {
    text: texts(parts).join(""),
    reasoning,
    calls: calls(parts),
    finish: isWhole ? [finish.finishReason, finish.usage.inputTokens.total, finish.usage.outputTokens.total] : null,
  };
}
