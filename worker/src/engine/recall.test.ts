import { describe, expect, it } from "vitest";
import { forkedTools } from "../recorded-results.ts";
import { answerText, play, verifyRun, type FakeTool } from "./engine-harness.ts";
import type { ReusedOutcome } from "./tool-outcome.ts";

const reused = (content: string, from = "call_then"): ReusedOutcome => ({
  status: "succeeded",
  content,
  reused: { key: `key of ${from}`, toolCallId: from },
});

/** Answers its calls with these, one after the other. */
const recalling = (tool: FakeTool, ...outcomes: ReusedOutcome[]): FakeTool => ({
  ...tool,
  recall: () => outcomes.shift() ?? null,
});

const send: FakeTool = { name: "send", effect: "write", policy: "approve" };

describe("a call whose result is recalled", () => {
  it("is neither sent nor asked about, and its result says where it is from", async () => {
    const run = await play({
      scripts: [[{ call: "send", arguments: {} }], [{ say: "Sent." }]],
      tools: [recalling(send, reused("it went"))],
    });
    expect(run.ledger).toEqual([]);
    expect(run.begun).toEqual([]);
    expect(run.outcomes).toMatchObject([{ invocation: { attempts: 0 }, outcome: reused("it went") }]);
    expect(run.events).toContainEqual(
      expect.objectContaining({
        type: "TOOL_CALL_RESULT",
        content: "it went",
        metadata: { agentEngine: { reusedFrom: "call_then" } },
      }),
    );
    expect(answerText(run)).toBe("Sent.");
    await verifyRun(run);
  });

  it("is asked about like any other when there is none left", async () => {
    const call = { call: "send", arguments: {} };
    const run = await play({ scripts: [[call, call]], tools: [recalling(send, reused("it went"))] });
    expect(run.result).toMatchObject({ kind: "interrupt", interrupts: [{ reason: "approval" }] });
    expect(run.state.toolCalls.map(({ result }) => result)).toEqual(["it went", null]);
    expect(run.ledger).toEqual([]);
  });

  it("gives its sources the numbers that are free in this run", async () => {
    const source = (title: string) => ({ documentId: `doc_${title}`, title, url: null, quote: title, score: 1 });
    const recorded = JSON.stringify({ sources: [{ number: 1, ...source("then") }] });
    const outcomes = [null, reused(recorded)];
    const look: FakeTool = {
      name: "look",
      givesSources: true,
      call: async () => ({ content: null, sources: [source("now")] }),
      recall: () => outcomes.shift() ?? null,
    };
    const run = await play({
      scripts: [[{ call: "look", arguments: {} }], [{ call: "look", arguments: {} }], [{ say: "Now [1], then [2]." }]],
      tools: [look],
    });
    expect(run.state.messages.at(-1)?.citations.map(({ number, title }) => [number, title])).toEqual([
      [1, "now"],
      [2, "then"],
    ]);
  });
});

describe("the tools of a fork", () => {
  const recorded = (tool: string, args: Record<string, unknown>, content: string) => ({
    tool,
    arguments: args,
    outcome: reused(content),
  });
  const settings = {
    from: { runId: "run_1", conversationId: "conv_1", seq: 1 },
    reuseToolResults: true,
    allowSideEffects: false,
  };

  /** Played once for its tools: the harness makes bound ones. */
  async function forked(allowSideEffects: boolean) {
    const calls = [
      recorded("send", { a: 1, b: { c: 2, d: 3 } }, "first"),
      recorded("look", { a: 1, b: { c: 2, d: 3 } }, "other tool"),
      recorded("send", { b: { d: 3, c: 2 }, a: 1 }, "second"),
    ];
    const bound = (["read", "idempotent", "write"] as const).map((effect) => ({
      description: {
        name: effect === "write" ? "send" : effect,
        description: "",
        parameters: {},
        effect,
        scopes: [],
        connection: "none" as const,
        visibility: { arguments: false, results: false },
      },
      toolkit: "fake",
      host: null,
      policy: "auto" as const,
      deadlineMs: 1,
      checkArguments: () => null,
      call: async () => ({ content: "made" }),
      classifyFailure: () => ({
        kind: "permanent" as const,
        code: "",
        detail: "",
        requestId: null,
        retryAfterMs: null,
      }),
    }));
    return forkedTools(bound, { settings: { ...settings, allowSideEffects }, recorded: calls });
  }

  const invocation = (toolName: string, args: Record<string, unknown>) => ({
    toolCallId: "call_now",
    callIndex: 0,
    toolName,
    effect: "write" as const,
    idempotencyKey: "k",
    arguments: args,
    attempts: 0,
    startedAt: null,
    outcome: null,
    decision: null,
  });

  it("ask a person before anything but a read, unless the caller allows it", async () => {
    expect((await forked(false)).map(({ policy }) => policy)).toEqual(["auto", "approve", "approve"]);
    expect((await forked(true)).map(({ policy }) => policy)).toEqual(["auto", "auto", "auto"]);
  });

  it("recall the results of identical calls in order, whatever the order of their arguments' keys", async () => {
    const tool = (await forked(false))[2];
    const recall = (args: Record<string, unknown>) => tool?.recall?.(invocation("send", args))?.content ?? null;
    expect(recall({ b: { c: 2, d: 3 }, a: 2 })).toBeNull();
    expect(recall({ b: { c: 2, d: 3 }, a: 1 })).toBe("first");
    expect(recall({ a: 1, b: { d: 3, c: 2 } })).toBe("second");
    expect(recall({ a: 1, b: { d: 3, c: 2 } })).toBeNull();
  });
});
