import { describe, expect, it } from "vitest";
import { answerText, eventTypes, play, verifyRun } from "./engine-harness.ts";

describe("a run without tools", () => {
  it("streams the model's words inside one step and finishes", async () => {
    const run = await play({ scripts: [[{ say: "Hello dear visitor" }]] });
    expect(run.error).toBeNull();
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "stop", text: "Hello dear visitor" });
    expect(eventTypes(run.events)).toEqual([
      "STEP_STARTED",
      "TEXT_MESSAGE_START",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_END",
      "STEP_FINISHED",
    ]);
    expect(run.result).toMatchObject({
      usage: [{ provider: "scripted", model: "script-1", inputTokens: 100, outputTokens: 10, totalTokens: 110 }],
    });
    await verifyRun(run);
  });

  it("shows reasoning to staff only", async () => {
    const run = await play({ scripts: [[{ think: "hm" }, { say: "Yes" }]] });
    const staff = run.events.filter((_, index) => run.audiences[index] === "staff");
    expect(eventTypes(staff)).toEqual([
      "REASONING_START",
      "REASONING_MESSAGE_START",
      "REASONING_MESSAGE_CONTENT",
      "REASONING_MESSAGE_END",
      "REASONING_END",
    ]);
    await verifyRun(run);
  });

  it("says why it ended when the model was cut short or filtered", async () => {
    const long = await play({ scripts: [[{ say: "And then" }, { finish: "length" }]] });
    expect(long.result).toMatchObject({ kind: "finished", finishReason: "limit" });
    const filtered = await play({ scripts: [[{ finish: "content-filter" }]] });
    expect(filtered.result).toMatchObject({ kind: "finished", finishReason: "content_filter", text: "" });
  });
});

describe("a run with tools", () => {
  it("records the step before any call, then begins, calls, records and answers", async () => {
    const order: string[] = [];
    const run = await play({
      scripts: [[{ say: "Let me look." }, { call: "lookup", arguments: { id: 1 } }], [{ say: "It is here." }]],
      tools: [
        {
          name: "lookup",
          call: async () => {
            order.push("call");
            return { content: { found: true } };
          },
        },
      ],
      onEffect: (name) => name !== "emit" && name !== "assertLease" && order.push(name),
    });
    expect(order).toEqual(["recordToolStep", "beginInvocation", "call", "recordResult"]);
    expect(run.steps).toMatchObject([
      { index: 0, key: "run_00000000000000000000000000000001:0", text: "Let me look.", invocations: [{ attempts: 0 }] },
    ]);
    expect(run.state.toolCalls).toMatchObject([{ name: "lookup", status: "done", result: '{"found":true}' }]);
    expect(answerText(run)).toBe("Let me look.|It is here.");
    expect(run.result).toMatchObject({ kind: "finished", text: "It is here.", usage: [{ totalTokens: 220 }] });
    await verifyRun(run);
  });

  it("gives the model its own words, its call and the result back", async () => {
    const run = await play({
      scripts: [[{ say: "Looking." }, { call: "lookup", arguments: { id: 1 } }], [{ say: "Found." }]],
      tools: [{ name: "lookup" }],
    });
    const [first, second] = run.model.calls;
    expect(first?.tools).toMatchObject([{ type: "function", name: "lookup" }]);
    expect(second?.prompt.slice(1)).toMatchObject([
      { role: "user" },
      {
        role: "assistant",
        content: [
          { type: "text", text: "Looking." },
          { type: "tool-call", input: { id: 1 } },
        ],
      },
      { role: "tool", content: [{ type: "tool-result", output: { type: "text", value: '{"ok":"lookup"}' } }] },
    ]);
    expect(second?.prompt).toHaveLength(4);
  });

  it("keeps arguments and results from visitors unless the tool shows them", async () => {
    const scripts = [[{ call: "t", arguments: { secret: 1 } }], [{ say: "ok" }]];
    const audienceOf = async (visible: boolean) => {
      const run = await play({ scripts, tools: [{ name: "t", visible }] });
      return (type: string) => run.audiences[run.events.findIndex((event) => event.type === type)];
    };
    const hidden = await audienceOf(false);
    const shown = await audienceOf(true);
    expect([hidden("TOOL_CALL_START"), hidden("TOOL_CALL_ARGS"), hidden("TOOL_CALL_RESULT")]).toEqual([
      "all",
      "staff",
      "staff",
    ]);
    expect([shown("TOOL_CALL_ARGS"), shown("TOOL_CALL_RESULT")]).toEqual(["all", "all"]);
  });

  it("answers a call of an unknown tool, and bad arguments, without an invocation", async () => {
    const run = await play({
      scripts: [
        [
          { call: "nonsense", arguments: {} },
          { call: "lookup", arguments: "{not json" },
          { call: "lookup", arguments: [1] },
          { call: "lookup", arguments: { id: "x" } },
          { call: "lookup", arguments: { id: 7 } },
        ],
        [{ say: "ok" }],
      ],
      tools: [
        {
          name: "lookup",
          parameters: { type: "object", properties: { id: { type: "integer" } }, required: ["id"] },
        },
      ],
    });
    expect(run.steps[0]?.invocations).toMatchObject([{ callIndex: 4, arguments: { id: 7 } }]);
    expect(run.ledger).toHaveLength(1);
    expect(run.state.toolCalls.map((call) => call.result)).toEqual([
      '{"error":"There is no such tool. The tools are: lookup."}',
      '{"error":"The arguments are not valid JSON. Send them again as one JSON object."}',
      '{"error":"The arguments must be one JSON object."}',
      '{"error":"The arguments do not fit: id must be integer."}',
      '{"ok":"lookup"}',
    ]);
    await verifyRun(run);
  });

  it("runs reads side by side and changes one after the other, in order", async () => {
    const log: string[] = [];
    const slow = (name: string, effect: "read" | "write" | "idempotent", ms: number) => ({
      name,
      effect,
      call: async (
        request: { signal: AbortSignal },
        clock: { sleep(ms: number, signal: AbortSignal): Promise<void> },
      ) => {
        log.push(`+${name}`);
        await clock.sleep(ms, request.signal);
        log.push(`-${name}`);
        return { content: name };
      },
    });
    const run = await play({
      scripts: [["w1", "r1", "w2", "r2"].map((call) => ({ call, arguments: {} })), [{ say: "ok" }]],
      tools: [slow("w1", "write", 50), slow("r1", "read", 30), slow("w2", "idempotent", 10), slow("r2", "read", 10)],
    });
    expect(log).toEqual(["+r1", "+r2", "+w1", "-r2", "-r1", "-w1", "+w2", "-w2"]);
    expect(run.result).toMatchObject({ kind: "finished" });
    await verifyRun(run);
  });

  it("makes at most 16 calls of one turn", async () => {
    const run = await play({
      scripts: [Array.from({ length: 20 }, () => ({ call: "t", arguments: {} })), [{ say: "ok" }]],
      tools: [{ name: "t" }],
    });
    expect(run.ledger).toHaveLength(16);
    expect(run.state.toolCalls.filter((call) => call.result?.includes("At most 16"))).toHaveLength(4);
  });

  it("cuts a result that is too long, and makes it storable", async () => {
    const run = await play({
      scripts: [[{ call: "t", arguments: {} }], [{ say: "ok" }]],
      tools: [{ name: "t", call: async () => ({ content: `\u0000\ud800${"x".repeat(100_000)}` }) }],
    });
    const [call] = run.state.toolCalls;
    expect(call?.result?.length).toBeLessThanOrEqual(32_000);
    expect(call?.result).toMatch(/^\uFFFD\uFFFDx+ … \[cut: 100002 characters in all\]$/);
  });
});

describe("the limits of an agent", () => {
  const loop = Array.from({ length: 50 }, () => [{ say: "Again." }, { call: "t", arguments: {} }]);

  it("ends after so many steps", async () => {
    const run = await play({ scripts: loop, tools: [{ name: "t" }], agent: { limits: { maxSteps: 3 } } });
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "limit", text: "Again." });
    expect(run.model.calls).toHaveLength(3);
    expect(run.ledger).toHaveLength(3);
    await verifyRun(run);
  });

  it("ends after so many tokens, those of earlier stretches included", async () => {
    const limits = { maxTokens: 1_000 };
    const run = await play({ scripts: loop, tools: [{ name: "t" }], agent: { limits } });
    expect(run.model.calls).toHaveLength(10);
    const usage = [{ provider: "scripted", model: "script-1", totalTokens: 900 }];
    const later = await play({
      scripts: loop,
      tools: [{ name: "t" }],
      agent: { limits },
      input: { spent: { usage, activeMs: 0 } },
    });
    expect(later.model.calls).toHaveLength(1);
    expect(later.result).toMatchObject({ finishReason: "limit", usage: [{ totalTokens: 1_010 }] });
  });

  it("ends when its seconds are used up, in the middle of a sentence, which stays", async () => {
    const run = await play({
      scripts: [[{ say: "Well " }, { wait: 8_000 }, { say: "you see " }, { wait: 8_000 }, { say: "never" }]],
      agent: { limits: { maxSeconds: 10 } },
    });
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "limit" });
    expect(run.state.messages.at(-1)).toMatchObject({ text: "Well you see ", status: "incomplete" });
    await verifyRun(run);
  });

  it("counts the seconds of earlier stretches", async () => {
    const run = await play({
      scripts: [],
      agent: { limits: { maxSeconds: 10 } },
      input: { spent: { usage: [], activeMs: 10_000 } },
    });
    expect(run.result).toMatchObject({ finishReason: "limit" });
    expect(run.events).toEqual([]);
  });

  it("lets a call that changes something finish when the seconds run out", async () => {
    const run = await play({
      scripts: [[{ call: "pay", arguments: {} }], [{ say: "paid" }]],
      tools: [
        {
          name: "pay",
          effect: "write",
          call: async (request, clock) => {
            await clock.sleep(20_000, request.signal);
            return { content: "paid" };
          },
        },
      ],
      agent: { limits: { maxSeconds: 10 } },
    });
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "limit" });
    expect(run.outcomes).toMatchObject([{ outcome: { status: "succeeded" } }]);
  });
});
