import { describe, expect, it } from "vitest";
import { eventTypes, play, ToolFailed, verifyRun } from "./engine-harness.ts";

describe("cancelling a run", () => {
  it("keeps the words that were said and marks them incomplete", async () => {
    const run = await play({ scripts: [[{ say: "One " }, { wait: 5_000 }, { say: "two" }]], cancelAfterMs: 1_000 });
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "cancelled", text: "One " });
    expect(run.state.messages.at(-1)).toMatchObject({ text: "One ", status: "incomplete" });
    expect(eventTypes(run.events).slice(-2)).toEqual(["TEXT_MESSAGE_END", "STEP_FINISHED"]);
    await verifyRun(run);
  });

  it("aborts the model upstream and does not wait for it", async () => {
    const run = await play({ scripts: [[{ say: "One " }, { hang: true }]], cancelAfterMs: 1_000 });
    expect(run.result).toMatchObject({ finishReason: "cancelled" });
    expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBe(1_000);
    expect(run.model.calls[0]?.abortSignal?.aborted).toBe(true);
  });

  it("ends the wait before the next attempt", async () => {
    const run = await play({
      scripts: [[{ say: "One " }, { fail: { retryAfterMs: 30_000 } }]],
      cancelAfterMs: 1_000,
    });
    expect(run.result).toMatchObject({ finishReason: "cancelled", text: "One " });
    expect(run.model.calls).toHaveLength(1);
    await verifyRun(run);
  });

  it.each([
    ["read", { status: "cancelled" }],
    ["idempotent", { status: "outcome_unknown", failure: { code: "cancelled" } }],
    ["write", { status: "outcome_unknown", failure: { code: "cancelled" } }],
  ] as const)(
    "leaves a %s that did not answer, says what is known of it, and gives it a result",
    async (effect, outcome) => {
      const run = await play({
        scripts: [[{ call: "t", arguments: {} }]],
        tools: [{ name: "t", effect, call: () => new Promise(() => {}) }],
        cancelAfterMs: 1_000,
      });
      expect(run.result).toMatchObject({ kind: "finished", finishReason: "cancelled" });
      expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBe(1_000);
      expect(run.outcomes).toMatchObject([{ outcome }]);
      expect(run.state.toolCalls).toMatchObject([{ status: "done", result: expect.stringContaining("cancelled") }]);
      await verifyRun(run);
    },
  );

  it("makes no further call, and every call has a result", async () => {
    const run = await play({
      scripts: [["a", "b", "c"].map((call) => ({ call, arguments: {} }))],
      tools: [
        { name: "a", effect: "write", call: () => new Promise(() => {}) },
        { name: "b", effect: "write" },
        { name: "c", call: () => Promise.reject(new ToolFailed({ retryAfterMs: 50_000 })) },
      ],
      cancelAfterMs: 1_000,
    });
    expect(run.ledger.map((entry) => entry.name).sort()).toEqual(["a", "c"]);
    expect(run.state.toolCalls.every((call) => call.result !== null)).toBe(true);
    await verifyRun(run);
  });

  it("does nothing at all when it was cancelled before it began", async () => {
    const run = await play({ scripts: [], input: { signal: AbortSignal.abort() } });
    expect(run.result).toMatchObject({ kind: "finished", finishReason: "cancelled" });
    expect(run.events).toEqual([]);
    expect(run.model.calls).toEqual([]);
  });
});
