import { describe, expect, it } from "vitest";
import type { LanguageModelV4Message, LanguageModelV4Prompt, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import type { ToolSource } from "@agent-engine/core/toolkits/toolkit.ts";
import { resultText } from "../../engine/tool-outcome.ts";
import { extractiveModel, takeTurn } from "./model.ts";

const tools = [{ type: "function" as const, name: "knowledge_search", inputSchema: { type: "object" as const } }];
const said = (text: string): LanguageModelV4Message => ({ role: "user", content: [{ type: "text", text }] });
const replied = (text: string): LanguageModelV4Message => ({ role: "assistant", content: [{ type: "text", text }] });
const found = (...sources: ToolSource[]): LanguageModelV4Message[] => result(resultText({ content: null, sources }, 1));
const result = (value: string): LanguageModelV4Message[] => [
  { role: "assistant", content: [{ type: "tool-call", toolCallId: "c", toolName: "knowledge_search", input: {} }] },
  {
    role: "tool",
    content: [{ type: "tool-result", toolCallId: "c", toolName: "knowledge_search", output: { type: "text", value } }],
  },
];
const passage = (title: string, quote: string, score: number): ToolSource => ({
  documentId: `doc_${title}`,
  title,
  url: null,
  quote,
  score,
});
const shipping = passage(
  "Shipping",
  "## Shipping\n\nWe ship to all countries of the European Union. Standard delivery takes three to five working days. Express orders placed before noon leave the same day.",
  0.8,
);
const returns = passage("Returns", "You can return any item within 30 days. Refunds take up to a week.", 0.2);

function turn(...messages: LanguageModelV4Message[]) {
  return takeTurn({ prompt: [{ role: "system", content: "Be nice." }, ...messages], tools });
}
function answer(...messages: LanguageModelV4Message[]): string {
  const next = turn(...messages);
  return next.kind === "say" ? next.text : `search: ${next.query}`;
}

describe("small talk", () => {
  it.each(["Hi", "hello!", "Hey there", "Good morning", "HI!!"])("greets back: %s", (text) => {
    expect(answer(said(text))).toMatch(/^Hello! I am the assistant\. What would you like to know\?$/);
  });

  it.each([
    ["thanks a lot", /welcome/],
    ["Thank you for your help!", /welcome/],
    ["bye", /Goodbye/],
    ["How are you?", /all is well/],
    ["what can you do?", /documents/],
    ["???", /did not catch a question/],
    ["👍", /did not catch a question/],
  ])("%s", (text, expected) => expect(answer(said(text))).toMatch(expected));

  it.each([
    "Who are you?",
    "are you a bot",
    "Are you ChatGPT?",
    "Are you a language model?",
    "am I talking to a human?",
    "who are you? are you a robot",
  ])("never pretends to be a language model or a person: %s", (text) =>
    expect(answer(said(text))).toMatch(/not a person and not a language model/),
  );

  it("uses the agent's name and suggestions", () => {
    const next = takeTurn({
      prompt: [said("Hello")],
      providerOptions: {
        agentEngine: { agentName: "Nora", suggestions: ["Do you ship abroad?", "When are you open?"] },
      },
    });
    expect(next).toEqual({
      kind: "say",
      text: "Hello! I am Nora. What would you like to know? You could ask, for example: “Do you ship abroad?” or “When are you open?”",
    });
  });
});

describe("the first turn", () => {
  it.each([
    ["How long does delivery take?", "delivery"],
    ["Hi, do you ship to Spain?", "ship spain"],
    ["Hello there! When are you open", "open"],
    ["Which payment methods are accepted?", "payment methods accepted"],
    ["how do i send my boots back", "return boots"],
    ["Can I get my money back?", "refund"],
    ["How much is the express delivery?", "cost express delivery"],
  ])("searches for %s", (text, query) => expect(turn(said(text))).toEqual({ kind: "search", query }));

  it("adds what a follow-up refers to, and only then", () => {
    const before = [said("Do you ship to Canada?"), replied("Yes.")];
    expect(turn(...before, said("How long does it take?"))).toEqual({
      kind: "search",
      query: "ship canada",
    });
    expect(turn(...before, said("And to Norway?"))).toEqual({ kind: "search", query: "norway ship canada" });
    expect(turn(...before, said("Why?"))).toEqual({ kind: "search", query: "ship canada" });
    expect(turn(...before, said("Which payment methods are accepted?"))).toEqual({
      kind: "search",
      query: "payment methods accepted",
    });
  });

  it("searches again for each new question", () => {
    expect(turn(said("Shipping?"), ...found(shipping), replied("Yes."), said("Returns?"))).toEqual({
      kind: "search",
      query: "returns",
    });
  });

  it("says so when there is nothing to search in", () => {
    expect(takeTurn({ prompt: [said("Do you ship abroad?")] })).toMatchObject({
      text: expect.stringContaining("no documents"),
    });
  });
});

describe("the answer", () => {
  it("quotes the sentences that answer, with their number", () => {
    expect(answer(said("How long does standard delivery take?"), ...found(shipping, returns))).toBe(
      "Here is what I found in “Shipping”: “Standard delivery takes three to five working days. " +
        "Express orders placed before noon leave the same day.” [1]",
    );
  });

  it("quotes a second source when it is nearly as good", () => {
    const sizes = passage("Sizes", "Our shoe sizes run from 36 to 46.", 0.9);
    const fitting = passage("Fitting", "If you are between two shoe sizes, take the larger one.", 0.9);
    expect(answer(said("Which shoe sizes do you have?"), ...found(sizes, fitting))).toBe(
      "Here is what I found in “Sizes”: “Our shoe sizes run from 36 to 46.” [1]\n\n" +
        "“Fitting” adds: “If you are between two shoe sizes, take the larger one.” [2]",
    );
  });

  it("is cautious about a passage that covers only part of the question", () => {
    const text = answer(said("Do you ship fireworks to Spain overnight?"), ...found({ ...shipping, score: 0.35 }));
    expect(text).toMatch(
      /^I am not sure this answers your question, but it is the closest I found in “Shipping”: “.*” \[1\]$/s,
    );
  });

  it("says that it does not know rather than quote what does not fit", () => {
    const text = answer(said("What is the capital of France?"), ...found({ ...shipping, score: 0.1 }, returns));
    expect(text).toBe(
      "I am sorry, I could not find anything about that in this site's documents. I do have information on: Shipping, Returns.",
    );
    expect(answer(said("What is love?"), ...found())).toMatch(/could not find anything.*in other words\?$/);
    expect(text).not.toMatch(/\[\d\]/);
  });

  it("says that it could not look when the search failed", () => {
    expect(answer(said("Shipping?"), ...result('{"error":"This call was interrupted"}'))).toMatch(
      /could not look that up/,
    );
  });

  it("finds the words of the question before when a follow-up needs them", () => {
    const text = answer(
      said("Tell me about express orders"),
      replied("…"),
      said("When do they leave?"),
      ...found(shipping),
    );
    expect(text).toContain("Express orders placed before noon leave the same day.");
  });

  it("cuts a long passage at a word and leaves markup out", () => {
    const long = passage("Care", `- **Wash** wool ${"very gently and slowly ".repeat(40)}`, 0.9);
    const text = answer(said("How do I wash wool?"), ...found(long));
    expect(text).toMatch(/“Wash wool very gently .*(very|gently|and|slowly) …” \[1\]$/);
    expect(text.length).toBeLessThan(420);
  });

  it("is the same every time", () => {
    const once = answer(said("How long does delivery take?"), ...found(shipping, returns));
    expect(answer(said("How long does delivery take?"), ...found(shipping, returns))).toBe(once);
  });
});

describe("its stream", () => {
  const prompt: LanguageModelV4Prompt = [said("Who are you?")];
  async function read(stream: ReadableStream<LanguageModelV4StreamPart>) {
    const parts: LanguageModelV4StreamPart[] = [];
    for await (const part of stream as unknown as AsyncIterable<LanguageModelV4StreamPart>) parts.push(part);
    return parts;
  }

  it("comes word by word", async () => {
    const { stream } = await extractiveModel({ wordMs: 0 }).doStream({ prompt });
    const words = (await read(stream)).flatMap((part) => (part.type === "text-delta" ? [part.delta] : []));
    expect(words.slice(0, 4)).toEqual(["I ", "am ", "the ", "assistant, "]);
    expect(words.join("")).toMatch(/quote what I find\.$/);
  });

  it("calls the search as any model would", async () => {
    const { stream } = await extractiveModel({ wordMs: 0 }).doStream({ prompt: [said("Do you ship abroad?")], tools });
    expect((await read(stream)).map((part) => part.type)).toEqual([
      "stream-start",
      "tool-input-start",
      "tool-input-delta",
      "tool-input-end",
      "tool-call",
      "finish",
    ]);
  });

  it("stops when it is aborted", async () => {
    const abort = new AbortController();
    const { stream } = await extractiveModel({ wordMs: 60_000 }).doStream({ prompt, abortSignal: abort.signal });
    const reading = read(stream);
    abort.abort();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  });
});
