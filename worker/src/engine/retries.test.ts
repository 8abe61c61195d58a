import { describe, expect, it } from "vitest";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { createCircuits } from "../circuits.ts";
import { answerText, eventTypes, play, ToolFailed, verifyRun, type Scenario } from "./engine-harness.ts";

const retrying = (events: readonly ConversationEvent[]) =>
  events.flatMap((event) => (event.type === "CUSTOM" && event.name === "run.retrying" ? [event.value] : []));

describe("a model that fails", () => {
  it("is asked again; what the visitor read stays until the next attempt begins, and then goes", async () => {
    const run = await play({
      scripts: [[{ say: "It begins " }, { fail: { code: "cut_off" } }], [{ say: "All is well." }]],
    });
    expect(eventTypes(run.events)).toEqual([
      "STEP_STARTED",
      "TEXT_MESSAGE_START",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_CONTENT",
      "run.retrying",
      "TEXT_MESSAGE_END",
      "STEP_FINISHED",
      "run.superseded",
      "STEP_STARTED",
      "TEXT_MESSAGE_START",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_CONTENT",
      "TEXT_MESSAGE_END",
      "STEP_FINISHED",
    ]);
    expect(retrying(run.events)).toEqual([{ attempt: 2, delayMs: 250, reason: "cut_off" }]);
    expect(answerText(run)).toBe("All is well.");
    await verifyRun(run);
  });

  it("supersedes the calls of a failed attempt too: none of them is made", async () => {
    const run = await play({
      scripts: [[{ call: "t", arguments: { a: 1 } }, { errorPart: {} }], [{ say: "Fine." }]],
      tools: [{ name: "t" }],
    });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls).toEqual([]);
    expect(answerText(run)).toBe("Fine.");
    await verifyRun(run);
  });

  it.each<[string, Scenario["scripts"][number], string]>([
    ["never answers", [{ hang: true }], "stalled"],
    ["falls silent", [{ say: "Hm " }, { hang: true }], "stalled"],
    ["ends without a reason", [{ say: "Hm " }, { cut: true }], "cut_off"],
    ["sends an error in its stream", [{ say: "Hm " }, { errorPart: { code: "unavailable" } }], "unavailable"],
  ])("is asked again when it %s", async (_, script, reason) => {
    const run = await play({ scripts: [script, [{ say: "Now." }]] });
    expect(retrying(run.events)).toMatchObject([{ reason }]);
    expect(answerText(run)).toBe("Now.");
    await verifyRun(run);
  });

  it("gives a silent model 30 s at first and 20 s later", async () => {
    const first = await play({ scripts: [[{ wait: 29_000 }, { say: "Hm" }, { wait: 19_000 }, { say: "Yes" }]] });
    expect(answerText(first)).toBe("HmYes");
    const silent = await play({ scripts: [[{ say: "Hm" }, { wait: 21_000 }, { say: "No" }], [{ say: "Yes" }]] });
    expect(answerText(silent)).toBe("Yes");
  });

  it("takes thoughts as a sign of life, and lets a model think in silence for as long as before its first one", async () => {
    const thinking = [{ think: "Hm." }, { wait: 29_000 }, { think: "Well." }, { wait: 29_000 }, { say: "Yes." }];
    const patient = await play({ scripts: [thinking] });
    expect(retrying(patient.events)).toEqual([]);
    expect(answerText(patient)).toBe("Yes.");
    const lost = await play({ scripts: [[{ think: "Hm." }, { wait: 31_000 }, { say: "No." }], [{ say: "Yes." }]] });
    expect(retrying(lost.events)).toMatchObject([{ reason: "stalled" }]);
    expect(answerText(lost)).toBe("Yes.");
  });

  it("is not waited for longer than a minute: a person reads when it wants to be asked again", async () => {
    const run = await play({ scripts: [[{ fail: { code: "rate_limited", retryAfterMs: 90_000 } }]] });
    expect(run.clock.now()).toBe(Date.UTC(2026, 0, 1));
    expect(retrying(run.events)).toEqual([]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        {
          metadata: {
            code: "rate_limited",
            retryAfterMs: 90_000,
            retryAt: "2026-01-01T00:01:30.000Z",
            advice: expect.stringContaining("retryAt"),
          },
        },
      ],
    });
  });

  it("waits as long as it was asked to", async () => {
    const run = await play({ scripts: [[{ fail: { code: "rate_limited", retryAfterMs: 7_000 } }]] });
    expect(retrying(run.events)).toEqual([{ attempt: 2, delayMs: 7_250, reason: "rate_limited" }]);
    expect(run.result).toMatchObject({ kind: "finished", text: "done" });
  });

  it("backs off with jitter and after four attempts leaves it to a person", async () => {
    const fail = { fail: { code: "unavailable", detail: "503 overloaded", requestId: "req_9" } };
    const run = await play({
      scripts: [[{ say: "One" }, fail], [fail], [{ say: "Three" }, fail], [{ say: "Four" }, fail]],
      random: () => 0.99,
    });
    expect(retrying(run.events).map((value) => value.delayMs)).toEqual([495, 990, 1980]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        {
          reason: "operator",
          metadata: {
            kind: "model",
            provider: "scripted",
            model: "script-1",
            code: "unavailable",
            detail: "503 overloaded",
            requestId: "req_9",
            attempts: 4,
            stepIndex: 0,
          },
        },
      ],
    });
    expect(answerText(run)).toBe("");
    const interrupt = run.result?.kind === "interrupt" ? run.result.interrupts[0] : undefined;
    expect(interrupt?.message).not.toMatch(/scripted|503|unavailable/);
    await verifyRun(run);
  });

  it("does not begin again later than 60 s after the first failure", async () => {
    const slow = [{ wait: 29_500 }, { fail: { code: "timeout" } }];
    const run = await play({ scripts: [[{ say: "" }, ...slow], slow, slow, slow] });
    expect(run.model.calls).toHaveLength(3);
    expect(run.result).toMatchObject({ kind: "interrupt" });
  });

  it("leaves it to a person at once when only a person can help", async () => {
    const run = await play({ scripts: [[{ fail: { kind: "needs_person", code: "quota_exhausted" } }]] });
    expect(retrying(run.events)).toEqual([]);
    expect(run.result).toMatchObject({ kind: "interrupt", interrupts: [{ metadata: { attempts: 1 } }] });
  });

  it("fails the run for good on a permanent error, with a sentence for the visitor; what was said stays", async () => {
    const run = await play({
      scripts: [[{ say: "So far" }, { errorPart: { kind: "permanent", code: "not_authorized", detail: "401 key" } }]],
    });
    expect(run.result).toMatchObject({ kind: "failed", code: "not_authorized", failure: { detail: "401 key" } });
    expect(run.result?.kind === "failed" && run.result.message).toMatch(/could not finish this answer/);
    expect(run.state.messages.at(-1)).toMatchObject({ text: "So far", status: "incomplete" });
    await verifyRun(run);
  });

  it("continues a later step without repeating the finished ones", async () => {
    const fail = { fail: {} };
    const run = await play({
      scripts: [[{ call: "t", arguments: {} }], [fail], [{ say: "Hello" }, fail], [{ say: "Here." }]],
      tools: [{ name: "t" }],
    });
    expect(run.ledger).toHaveLength(1);
    expect(answerText(run)).toBe("Here.");
    await verifyRun(run);
  });
});

describe("a circuit", () => {
  const limits = { failures: 2, openMs: 3_600_000, maxOpenMs: 3_600_000, max: 9 };
  const name = { tenantId: "tenant_t", of: "model", provider: "p", host: "h" } as const;
  const fail = { fail: { code: "unavailable", requestId: "req_7" } };

  it("that opens while a model is tried ends the trying; the next run does not ask at all", async () => {
    const circuit = createCircuits(limits).circuitOf(name);
    const first = await play({ scripts: [[fail], [{ say: "Two" }, fail], [fail]], circuit });
    expect(first.model.calls).toHaveLength(2);
    expect(retrying(first.events)).toHaveLength(2);
    const open = {
      code: "circuit_open",
      requestId: "req_7",
      retryAt: expect.stringMatching(/Z$/),
      advice: expect.stringContaining("circuit.retryAt"),
      circuit: {
        since: expect.stringMatching(/Z$/),
        retryAt: expect.stringMatching(/Z$/),
        failures: 2,
        last: { code: "unavailable", requestId: "req_7" },
      },
    };
    const tried = [{ code: "unavailable", requestId: "req_7" }, { code: "unavailable" }];
    expect(first.result).toMatchObject({
      kind: "interrupt",
      interrupts: [{ reason: "operator", metadata: { ...open, attempts: 2, tried, choices: ["retry", "abort"] } }],
    });
    await verifyRun(first);

    const next = await play({ scripts: [], circuit });
    expect(next.model.calls).toEqual([]);
    expect(next.result).toMatchObject({ interrupts: [{ metadata: { ...open, attempts: 0, tried: [] } }] });
    expect(retrying(next.events)).toEqual([]);
    await verifyRun(next);
  });

  it("is not opened by refusals, rate limits or what a visitor stops", async () => {
    const circuits = createCircuits(limits);
    const circuit = circuits.circuitOf(name);
    for (const failure of [
      { kind: "permanent" as const, code: "not_authorized" },
      { kind: "transient" as const, code: "rate_limited", retryAfterMs: 90_000 },
      { kind: "needs_person" as const, code: "quota_exhausted" },
    ]) {
      for (let i = 0; i < 4; i++) await play({ scripts: [[{ fail: failure }]], circuit });
    }
    for (let i = 0; i < 4; i++) await play({ scripts: [[{ hang: true }]], circuit, cancelAfterMs: 10 });
    expect(circuits.snapshot()).toEqual([]);
  });

  it("keeps a tool from being called, and a call from being on record as sent", async () => {
    const circuit = createCircuits(limits).circuitOf({ ...name, of: "tool" });
    const scripts = [[{ call: "t", arguments: {} }]];
    const down = async () => {
      throw new ToolFailed({ kind: "transient", code: "connection_failed", notSent: true });
    };
    const first = await play({ scripts, tools: [{ name: "t", effect: "write", call: down, circuit }] });
    expect(first.ledger).toHaveLength(2);
    const next = await play({ scripts, tools: [{ name: "t", effect: "write", circuit }] });
    expect([next.ledger, next.begun, next.outcomes]).toEqual([[], [], []]);
    expect(next.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        { reason: "operator", metadata: { code: "circuit_open", outcome: "not_done", attempts: 0, sentAt: null } },
      ],
    });
    await verifyRun(next);
  });
});

describe("a tool that fails", () => {
  const failing = (times: number, failure: ConstructorParameters<typeof ToolFailed>[0]) => {
    let left = times;
    return async () => {
      if (left-- > 0) throw new ToolFailed(failure);
      return { content: "ok" };
    };
  };
  const scripts = [[{ call: "t", arguments: { n: 1 } }], [{ say: "Thanks." }]];

  it.each(["read", "idempotent"] as const)(
    "is called again with the same key when its effect is %s",
    async (effect) => {
      const call = failing(2, { kind: "unknown_outcome", code: "timeout" });
      const run = await play({ scripts, tools: [{ name: "t", effect, call }] });
      expect(run.ledger).toHaveLength(3);
      expect(new Set(run.ledger.map((entry) => entry.key)).size).toBe(1);
      expect(run.begun.map((invocation) => invocation.attempts)).toEqual([0, 1, 2]);
      expect(run.outcomes).toMatchObject([{ outcome: { status: "succeeded", content: "ok" } }]);
      expect(retrying(run.events).map((value) => value.reason)).toEqual(["timeout", "timeout"]);
      expect(run.state.runs[Object.keys(run.state.runs)[0] ?? ""]).toMatchObject({ retry: null });
      await verifyRun(run);
    },
  );

  it("is never called twice on our own when it writes and nobody knows what it did", async () => {
    const call = failing(9, { kind: "unknown_outcome", code: "timeout", detail: "no answer", requestId: "r1" });
    const run = await play({ scripts, tools: [{ name: "t", effect: "write", call }] });
    expect(run.ledger).toHaveLength(1);
    expect(run.outcomes).toMatchObject([{ outcome: { status: "outcome_unknown", failure: { code: "timeout" } } }]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        {
          reason: "operator",
          toolCallId: run.steps[0]?.invocations[0]?.toolCallId,
          metadata: {
            outcome: "unknown",
            tool: "t",
            arguments: { n: 1 },
            sentAt: "2026-01-01T00:00:00.000Z",
            requestId: "r1",
            choices: ["done", "retry", "abort"],
          },
        },
      ],
    });
    expect(run.state.toolCalls).toMatchObject([{ status: "running", result: null }]);
    await verifyRun(run);
  });

  it("is called again when it writes only if nothing was sent", async () => {
    const call = failing(1, { kind: "transient", code: "connection_failed", notSent: true });
    const run = await play({ scripts, tools: [{ name: "t", effect: "write", call }] });
    expect(run.ledger).toHaveLength(2);
    expect(run.result).toMatchObject({ kind: "finished" });
    const busy = await play({
      scripts,
      tools: [{ name: "t", effect: "write", call: failing(1, { code: "rate_limited" }) }],
    });
    expect(busy.ledger).toHaveLength(1);
    expect(busy.result).toMatchObject({ kind: "interrupt", interrupts: [{ metadata: { outcome: "not_done" } }] });
    expect(busy.outcomes).toEqual([]);
  });

  it("is waited for until its deadline and no longer, also when it ignores its signal", async () => {
    const run = await play({ scripts, tools: [{ name: "t", effect: "write", call: () => new Promise(() => {}) }] });
    expect(run.outcomes).toMatchObject([{ outcome: { status: "outcome_unknown", failure: { code: "timeout" } } }]);
    expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBe(60_000);
  });

  it("that hangs holds up neither the reads beside it nor the run beyond its deadline", async () => {
    const answeredAt: number[] = [];
    const run = await play({
      scripts: [[...Array.from({ length: 9 }, () => ({ call: "look", arguments: {} })), { call: "t", arguments: {} }]],
      tools: [
        {
          name: "look",
          call: async (request, clock) => {
            await clock.sleep(300, request.signal);
            answeredAt.push(clock.now() - Date.UTC(2026, 0, 1));
            return { content: "seen" };
          },
        },
        { name: "t", call: () => new Promise(() => {}) },
      ],
    });
    expect(answeredAt).toEqual(Array.from({ length: 9 }, () => 300));
    expect(run.outcomes.filter(({ outcome }) => outcome.status === "succeeded")).toHaveLength(9);
    expect(run.failures.map(({ failure }) => failure.code)).toEqual(["timeout"]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [{ metadata: { code: "timeout", attempts: 1 } }],
    });
    expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBe(60_000);
    await verifyRun(run);
  });

  it("whose service gives up first is asked again, and all attempts end with the one deadline", async () => {
    const run = await play({
      scripts,
      tools: [
        {
          name: "t",
          call: async (request, clock) => {
            await clock.sleep(25_000, request.signal);
            throw new ToolFailed({ kind: "unknown_outcome", code: "timeout" });
          },
        },
      ],
    });
    expect(run.failures).toHaveLength(3);
    expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBe(60_000);
    expect(run.result).toMatchObject({ kind: "interrupt", interrupts: [{ metadata: { code: "timeout" } }] });
  });

  it("tells the model when it refuses", async () => {
    const call = failing(1, { kind: "permanent", code: "refused", detail: "No such order." });
    const run = await play({ scripts, tools: [{ name: "t", effect: "write", call }] });
    expect(run.state.toolCalls).toMatchObject([{ result: '{"error":"No such order."}' }]);
    expect(run.result).toMatchObject({ kind: "finished", text: "Thanks." });
    const definite = async () => ({ content: { status: 404 }, isError: true });
    const answered = await play({ scripts, tools: [{ name: "t", effect: "write", call: definite }] });
    expect(answered.outcomes).toMatchObject([{ outcome: { status: "failed", content: '{"status":404}' } }]);
  });

  it("leaves it to a person when a read never succeeds", async () => {
    const run = await play({ scripts, tools: [{ name: "t", call: failing(9, { code: "unavailable" }) }] });
    expect(run.ledger).toHaveLength(4);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [{ metadata: { code: "unavailable", attempts: 4 } }],
    });
    expect(run.failures.map(({ failure }) => failure.code)).toEqual([
      "unavailable",
      "unavailable",
      "unavailable",
      "unavailable",
    ]);
  });

  it("holds later changes back when an earlier one is uncertain; reads go on", async () => {
    const run = await play({
      scripts: [
        [
          { call: "pay", arguments: {} },
          { call: "mail", arguments: {} },
          { call: "look", arguments: {} },
        ],
      ],
      tools: [
        { name: "pay", effect: "write", call: failing(9, { kind: "unknown_outcome" }) },
        { name: "mail", effect: "write" },
        { name: "look" },
      ],
    });
    expect(run.ledger.map((entry) => entry.name).sort()).toEqual(["look", "pay"]);
    expect(run.result).toMatchObject({ kind: "interrupt", interrupts: [{}] });
    expect(run.state.toolCalls.map((call) => call.status)).toEqual(["running", "running", "done"]);
    await verifyRun(run);
  });
});
