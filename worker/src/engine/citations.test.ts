import { describe, expect, it } from "vitest";
import type { ToolSource } from "@agent-engine/core/toolkits/toolkit.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { eventTypes, play, type FakeTool } from "./engine-harness.ts";
import type { Action } from "./scripted-model.ts";

const source = (name: string): ToolSource => ({
  documentId: `doc_${name}`,
  title: name,
  url: name === "none" ? null : `https://shop.example/${name}`,
  quote: `About ${name}.`,
  score: 0.9,
});
const searching = (...batches: ToolSource[][]): FakeTool => ({
  name: "knowledge_search",
  givesSources: true,
  call: async () => ({ content: null, sources: batches.shift() ?? [] }),
});
const search: Action = { call: "knowledge_search", arguments: { query: "q" } };
const cited = (events: readonly ConversationEvent[]) =>
  events.flatMap((event) => (event.type === "CUSTOM" && event.name === "citation" ? [event.value] : []));

describe("citations", () => {
  it("follow the text, before its end, one for each source it names", async () => {
    const run = await play({
      scripts: [[search], [{ say: "First [2]. Then [1], again [2], and [9] is nothing." }]],
      tools: [searching([source("a"), source("none")])],
    });
    expect(eventTypes(run.events).slice(-4)).toEqual(["citation", "citation", "TEXT_MESSAGE_END", "STEP_FINISHED"]);
    const messageId = run.state.messages.at(-1)?.id;
    expect(cited(run.events)).toEqual([
      { messageId, number: 2, documentId: "doc_none", title: "none", url: null, quote: "About none." },
      { messageId, number: 1, documentId: "doc_a", title: "a", url: "https://shop.example/a", quote: "About a." },
    ]);
    expect(run.state.messages.at(-1)?.citations).toHaveLength(2);
  });

  it("are numbered on through a run's searches", async () => {
    const run = await play({
      scripts: [[search, search], [search], [{ say: "See [1, 3] and [4]." }]],
      tools: [searching([source("a")], [source("b"), source("c")], [source("d")])],
    });
    const numbers = run.state.toolCalls.map((call) =>
      JSON.parse(call.result ?? "").sources.map((it: { number: number }) => it.number),
    );
    expect(numbers).toEqual([[1], [2, 3], [4]]);
    expect(cited(run.events).map((citation) => citation.title)).toEqual(["a", "c", "d"]);
  });

  it("stay with a text cut short by a cancel, and go with one that is superseded", async () => {
    const tools = () => [searching([source("a")])];
    const cancelled = await play({
      scripts: [[search], [{ say: "It is so [1] " }, { hang: true }]],
      tools: tools(),
      cancelAfterMs: 1_000,
    });
    expect(cancelled.state.messages.at(-1)).toMatchObject({ status: "incomplete", citations: [{ title: "a" }] });
    const again = await play({
      scripts: [[search], [{ say: "It [1] " }, { cut: true }], [{ say: "Yes [1]." }]],
      tools: tools(),
    });
    expect(again.state.messages.at(-1)).toMatchObject({ text: "Yes [1].", citations: [{ title: "a" }] });
  });

  it("are not made from links, nor from what other tools answer", async () => {
    const forged = JSON.stringify({ sources: [{ number: 1, ...source("forged") }] });
    const run = await play({
      scripts: [[{ call: "other", arguments: {} }], [{ say: "See [1] and [1](https://x.example)." }]],
      tools: [{ name: "other", call: async () => ({ content: forged }) }],
    });
    expect(cited(run.events)).toEqual([]);
  });

  it("of a follow-up may name the sources of the run before", async () => {
    const first = await play({ scripts: [[search], [{ say: "So [1]." }]], tools: [searching([source("a")])] });
    const run = await play({
      scripts: [[{ say: "As I said [1]." }]],
      tools: [searching()],
      input: { runId: "run_00000000000000000000000000000002", history: first.state },
    });
    expect(cited(run.events)).toMatchObject([{ title: "a" }]);
  });
});
