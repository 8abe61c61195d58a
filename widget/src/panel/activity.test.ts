import { custom } from "@agent-engine/protocol/events.ts";
import { describe, expect, it } from "vitest";
import { activityOf } from "./activity.ts";
import { answering, asked, clientState, finished, RUN, started } from "./panel-state.fixture.ts";

const question = asked("When do you open?");
const textOf = (...args: Parameters<typeof clientState>) => activityOf(clientState(...args))?.text;

describe("while a visitor waits, the panel says", () => {
  it("nothing when nothing is going on, or when the text itself appears", () => {
    expect(activityOf(clientState([]))).toBeNull();
    expect(activityOf(clientState([...question, started, ...answering("At ten")]))).toBeNull();
    expect(activityOf(clientState([...question, started, finished({ type: "success" })]))).toBeNull();
  });

  it("that it thinks, from the moment the message is written", () => {
    const outgoing = { clientMessageId: "c", text: "hi", after: 0 };
    expect(textOf([], { outbox: [outgoing] })).toBe("Thinking…");
    expect(textOf([...question, started])).toBe("Thinking…");
  });

  it("nothing about a message that could not be sent", () => {
    const failed = { clientMessageId: "c", text: "hi", after: 0, error: { code: "network" as const, message: "" } };
    expect(activityOf(clientState([], { outbox: [failed] }))).toBeNull();
  });

  it("the place in the line, and the newer hint rather than the log", () => {
    const queued = [...question, custom("run.queued", { position: 12, expectedDelayMs: 125_000 })];
    expect(textOf(queued)).toBe("Number 12 in line · about 2 minutes");
    const hint = {
      conversationId: "conv_1",
      runId: RUN,
      name: "run.queued" as const,
      value: { position: 1, expectedDelayMs: 3_000 },
    };
    expect(textOf(queued, { hint })).toBe("You are next · a few seconds");
  });

  it.each([
    [1, 400, "You are next · a few seconds"],
    [2, 9_900, "Number 2 in line · a few seconds"],
    [3, 14_000, "Number 3 in line · about 10 seconds"],
    [3, 44_000, "Number 3 in line · about 40 seconds"],
    [9, 59_000, "Number 9 in line · about a minute"],
    [40, 600_000, "Number 40 in line · about 10 minutes"],
  ])("place %i and %i ms in words", (position, expectedDelayMs, text) => {
    const hint = {
      conversationId: "conv_1",
      runId: RUN,
      name: "run.queued" as const,
      value: { position, expectedDelayMs },
    };
    expect(textOf(question, { hint })).toBe(text);
    expect(activityOf(clientState(question, { hint }))?.kind).toBe("busy");
  });

  it("that it thinks once the run has begun, whatever a late hint says", () => {
    const value = { position: 4, expectedDelayMs: 60_000 };
    const hint = { conversationId: "conv_1", runId: RUN, name: "run.queued" as const, value };
    expect(textOf([...question, custom("run.queued", value), started], { hint })).toBe("Thinking…");
  });

  it("what the tool does, in words that are not its name", () => {
    const calls = (toolCallName: string) => [
      ...question,
      started,
      { type: "TOOL_CALL_START" as const, toolCallId: "call_1", toolCallName },
    ];
    expect(textOf(calls("knowledge_search"))).toBe("Looking through the documents…");
    expect(textOf(calls("GITHUB_CREATE_ISSUE"))).toBe("Working on it…");
  });

  it("that it tries again, without saying what went wrong inside", () => {
    const retrying = custom("run.retrying", { attempt: 2, delayMs: 800, reason: "ECONNRESET 10.0.0.3" });
    expect(textOf([...question, started, retrying])).toBe("Having some trouble. Trying again…");
  });

  it("what a run waits for, in the words meant for the visitor", () => {
    const waits = (message?: string) =>
      activityOf(
        clientState([
          ...question,
          started,
          finished({
            type: "interrupt",
            interrupts: [{ id: "int_1", reason: "operator", ...(message ? { message } : {}) }],
          }),
        ]),
      );
    expect(waits("The team will check it.")).toEqual({ kind: "waiting", text: "The team will check it." });
    expect(waits()).toEqual({ kind: "waiting", text: "Waiting for a decision." });
  });

  it("a run that was decided is about to go on: nobody is waited for any more", () => {
    const interrupts = [{ id: "int_1", reason: "operator" as const }];
    const resumed = custom("run.resumed", { interruptId: "int_1", decision: "retry", by: "operator" });
    const state = clientState([...question, started, finished({ type: "interrupt", interrupts }), resumed]);
    expect(activityOf(state)).toEqual({ kind: "busy", text: "Working on it…" });
  });

  it("a run whose page is asked to do something is at work", () => {
    const interrupts = [{ id: "int_1", reason: "client_tool" as const, metadata: { kind: "client_tool" } }];
    const state = clientState([...question, started, finished({ type: "interrupt", interrupts })]);
    expect(activityOf(state)).toEqual({ kind: "busy", text: "Working on it…" });
  });
});
