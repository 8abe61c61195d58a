import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { coalesceChunks } from "./coalesce-chunks.ts";

const chunk = (delta: object, rest: object = {}, choice: object = {}) =>
  `data: ${JSON.stringify({ id: "c1", object: "chat.completion.chunk", choices: [{ index: 0, delta, finish_reason: null, ...choice }], ...rest })}\n\n`;
const text = (content: string, rest: object = {}) => chunk({ content }, rest);

/** What comes out when the bytes arrive in these reads. */
async function pass(...reads: (string | Uint8Array)[]): Promise<string> {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const read of reads) controller.enqueue(typeof read === "string" ? encoder.encode(read) : read);
      controller.close();
    },
  });
  return new Response(coalesceChunks(body)).text();
}

function contents(stream: string): string[] {
  return stream
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .flatMap((event) =>
      JSON.parse(event.slice(6)).choices.map((it: { delta: { content?: string } }) => it.delta.content ?? ""),
    );
}

describe("text deltas that arrive together", () => {
  it("become one", async () => {
    expect(await pass(text("a") + text("b") + text("c"))).toBe(text("abc"));
  });

  it("stay apart when they arrive apart", async () => {
    expect(await pass(text("a"), text("b"))).toBe(text("a") + text("b"));
  });

  it("keep quotes, escapes, line ends and characters outside the BMP", async () => {
    const said = ['say "', '"', "\\", "\n\n", "😀", "é"];
    const stream = await pass(said.map((content) => text(content)).join(""));
    expect(contents(stream).join("")).toBe(said.join(""));
    expect(contents(stream)).toHaveLength(1);
  });

  it("merge although each carries something new of its own", async () => {
    expect(contents(await pass(text("a", { obfuscation: "x" }) + text("b", { obfuscation: "yz" })))).toEqual(["ab"]);
  });

  it("join the halves of a character", async () => {
    const half = (code: string) => text("x").replace('"content":"x"', `"content":"\\u${code}"`);
    expect(contents(await pass(half("d83d") + half("de00")))).toEqual(["😀"]);
  });
});

describe("everything else", () => {
  it.each([
    ["a role", chunk({ role: "assistant", content: "a" })],
    ["a tool call", chunk({ tool_calls: [{ index: 0, function: { arguments: '{"content":"x"}' } }] })],
    ["a finish reason", chunk({ content: "a" }, {}, { finish_reason: "stop" })],
    ["usage", text("a", { usage: { total_tokens: 1 } })],
    ["log probabilities", chunk({ content: "a" }, {}, { logprobs: { content: [] } })],
    ["another choice", chunk({ content: "a" }, {}, { index: 1 })],
    ["reasoning", chunk({ content: "a", reasoning_content: "b" })],
    ["an empty delta", text("")],
    ["an error", 'data: {"error":{"message":"\\"content\\":\\"x\\""}}\n\n'],
    ["the end", "data: [DONE]\n\n"],
    ["a comment", ": ping\n\n"],
    ["another kind of event", 'event: x\ndata: {"a":1}\n\n'],
    ["rubbish", 'data: {"choices":[{"delta":{"content":"\n\n'],
    ["lines that end otherwise", text("a").replaceAll("\n", "\r\n")],
    ["an event that never ends", "data: {"],
  ])("passes as it came, in its place: %s", async (_, event) => {
    expect(await pass(text("a") + text("b") + event)).toBe(text("ab") + event);
  });

  it("keeps the texts of two answers apart", async () => {
    const other = text("b").replace("c1", "c2");
    expect(await pass(text("a") + other)).toBe(text("a") + other);
  });

  it("reports a broken connection", async () => {
    const body = new ReadableStream<Uint8Array>({ pull: (controller) => controller.error(new Error("cut")) });
    await expect(new Response(coalesceChunks(body)).text()).rejects.toThrow("cut");
  });

  it("lets the reader hang up", async () => {
    let reason: unknown = null;
    const body = new ReadableStream<Uint8Array>({ cancel: (why) => void (reason = why) });
    await coalesceChunks(body).cancel("enough");
    expect(reason).toBe("enough");
  });
});

it("says the same in as many words, wherever the bytes are cut", async () => {
  const words = fc.array(fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }), { maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(words, fc.array(fc.nat(2_000)), async (said, cuts) => {
      const whole = `${chunk({ role: "assistant", content: "" })}${said.map((it) => text(it)).join("")}${chunk({}, {}, { finish_reason: "stop" })}data: [DONE]\n\n`;
      const bytes = new TextEncoder().encode(whole);
      const places = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].sort((a, b) => a - b);
      const reads = places.slice(1).map((place, index) => bytes.subarray(places[index], place));
      const stream = await pass(...reads);
      expect(contents(stream).join("")).toBe(said.join(""));
      expect(stream.endsWith("data: [DONE]\n\n")).toBe(true);
      expect(stream.startsWith(chunk({ role: "assistant", content: "" }))).toBe(true);
    }),
    { numRuns: 300 },
  );
});
