import { describe, expect, it } from "vitest";
import { invocationKey } from "@agent-engine/core/runs/invocation-key.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { RunAbandoned, type CallDecision, type RecordedStep, type ToolInvocation } from "./effects.ts";
import type { Circuit } from "./circuit.ts";
import { eventTypes, play, RUN, ToolFailed, verifyRun, type FakeTool, type Played } from "./engine-harness.ts";

/** Goes on from where a run stopped, with what a worker would have stored of its step. */
async function resume(
  before: Played,
  tool: FakeTool,
  changes: Partial<ToolInvocation>,
  says = "Then.",
): Promise<Played> {
  const [recorded] = before.steps;
  if (!recorded) throw new Error("no step was recorded");
  const stored = before.begun.at(-1);
  const outcome = before.outcomes.at(-1)?.outcome ?? null;
  const resumeStep: RecordedStep = {
    ...recorded,
    invocations: recorded.invocations.map((invocation) => ({
      ...invocation,
      attempts: stored ? stored.attempts + 1 : 0,
      outcome,
      ...changes,
    })),
  };
  return play({
    scripts: [[{ say: says }]],
    tools: [tool],
    input: { stepIndex: 0, resumeStep, history: reduce(before.state, []) },
  });
}

const scripts = [[{ say: "I will." }, { call: "t", arguments: { b: 2, a: [{ z: 1, y: 2 }] } }]];
const by = "member_1";

describe("a call that needs approval", () => {
  const tool: FakeTool = { name: "t", effect: "write", policy: "approve" };

  it("is not made but asked about, with exactly what would be sent", async () => {
    const run = await play({ scripts, tools: [tool] });
    expect(run.ledger).toEqual([]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [
        {
          reason: "approval",
          toolCallId: run.steps[0]?.invocations[0]?.toolCallId,
          metadata: {
            tool: "t",
            effect: "write",
            arguments: { b: 2, a: [{ z: 1, y: 2 }] },
            hash: "65bd191c9107c45729ed9fcbcd5935bc9223417c881c64075d15ff3615944703",
          },
        },
      ],
    });
    await verifyRun(run);
  });

  it("is made once it is approved, and the model goes on", async () => {
    const before = await play({ scripts, tools: [tool] });
    const run = await resume(before, tool, { decision: { kind: "approve", by } });
    expect(run.ledger).toMatchObject([{ name: "t", key: invocationKey(RUN, 0, 0), arguments: { b: 2 } }]);
    expect(eventTypes(run.events).slice(0, 3)).toEqual(["STEP_STARTED", "TOOL_CALL_RESULT", "STEP_FINISHED"]);
    expect(run.result).toMatchObject({ kind: "finished", text: "Then." });
    expect(run.model.calls[0]?.prompt.slice(1)).toMatchObject([
      { role: "user" },
      { role: "assistant", content: [{ text: "I will." }, { type: "tool-call" }] },
      { role: "tool", content: [{ output: { value: '{"ok":"t"}' } }] },
    ]);
    await verifyRun(run);
  });

  it("is not made when it is declined, and the model is told", async () => {
    const before = await play({ scripts, tools: [tool] });
    const run = await resume(before, tool, { decision: { kind: "decline", by, reason: "too dear" } });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls[0]?.result).toContain("A person declined this call: too dear");
    expect(run.outcomes).toMatchObject([{ outcome: { status: "failed", failure: { code: "declined" } } }]);
  });

  it("says for how long it may be approved, by whom, and what a changed call must fit", async () => {
    const run = await play({ scripts, tools: [tool] });
    expect(run.result).toMatchObject({
      interrupts: [
        { expiresAt: "2026-01-02T00:00:00.000Z", metadata: { by: "anyone", parameters: { type: "object" } } },
      ],
    });
    const approval = { by: "operator" as const, expiresInSeconds: 60 };
    expect((await play({ scripts, tools: [{ ...tool, approval }] })).result).toMatchObject({
      interrupts: [{ expiresAt: "2026-01-01T00:01:00.000Z", metadata: { by: "operator" } }],
    });
  });

  it("is made as a person changed it, and the model is told what was sent", async () => {
    const before = await play({ scripts, tools: [tool] });
    const changed = { arguments: { b: 3 }, decision: { kind: "approve" as const, by, edited: true } };
    const run = await resume(before, tool, changed);
    expect(run.ledger).toMatchObject([{ arguments: { b: 3 } }]);
    expect(run.state.toolCalls[0]?.result).toBe(
      'A person changed this call before it was made. It was made with {"b":3}. Its result:\n{"ok":"t"}',
    );
  });

  it("asks about every such call in one go, and only then makes them in order", async () => {
    const run = await play({
      scripts: [[...(scripts[0] ?? []), { call: "u", arguments: {} }, { call: "t", arguments: {} }]],
      tools: [tool, { name: "u", effect: "write" }],
    });
    expect(run.ledger).toEqual([]);
    expect(run.result?.kind === "interrupt" && run.result.interrupts.map((interrupt) => interrupt.reason)).toEqual([
      "approval",
      "approval",
    ]);
  });
});

describe("a step taken over from another worker", () => {
  const begun = { attempts: 1, startedAt: Date.UTC(2026, 0, 1) };

  it("makes the calls that were never begun", async () => {
    const before = await play({ scripts, tools: [{ name: "t", effect: "write", policy: "approve" }] });
    const run = await resume(before, { name: "t", effect: "write" }, { attempts: 0 });
    expect(run.ledger).toHaveLength(1);
    expect(run.result).toMatchObject({ kind: "finished" });
  });

  it.each(["read", "idempotent"] as const)(
    "makes a begun call again with its key when its effect is %s",
    async (effect) => {
      const before = await play({ scripts, tools: [{ name: "t", effect, policy: "approve" }] });
      const run = await resume(before, { name: "t", effect, policy: "approve" }, { ...begun, effect });
      expect(run.ledger).toMatchObject([{ key: invocationKey(RUN, 0, 0) }]);
      expect(run.result).toMatchObject({ kind: "finished" });
    },
  );

  it.each<[string, CallDecision | null]>([
    ["nobody decided", null],
    ["it had been approved", { kind: "approve", by }],
    ["a retry was decided about an earlier attempt", { kind: "retry", by, attempts: 0 }],
  ])("never makes a begun write again (%s): a person decides", async (_, decision) => {
    const before = await play({ scripts, tools: [{ name: "t", effect: "write", policy: "approve" }] });
    const run = await resume(before, { name: "t", effect: "write", policy: "approve" }, { ...begun, decision });
    expect(run.ledger).toEqual([]);
    expect(run.outcomes).toMatchObject([{ outcome: { status: "outcome_unknown", failure: { code: "interrupted" } } }]);
    expect(run.result).toMatchObject({
      kind: "interrupt",
      interrupts: [{ metadata: { outcome: "unknown", attempts: 1 } }],
    });
    await verifyRun(run);
  });

  it("uses a recorded result, and repeats none that the log already shows", async () => {
    const before = await play({ scripts, tools: [{ name: "t", policy: "approve" }] });
    const outcome = { status: "succeeded" as const, content: "stored" };
    const run = await resume(before, { name: "t" }, { ...begun, outcome });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls).toMatchObject([{ result: "stored" }]);
    const again = await resume({ ...before, state: run.state }, { name: "t" }, { ...begun, outcome: null });
    expect(again.ledger).toEqual([]);
    expect(eventTypes(again.events).slice(0, 2)).toEqual(["STEP_STARTED", "STEP_FINISHED"]);
  });

  it("tells the model when the tool is gone", async () => {
    const before = await play({ scripts, tools: [{ name: "t", policy: "approve" }] });
    const run = await resume(before, { name: "other" }, { attempts: 0 });
    expect(run.state.toolCalls[0]?.result).toContain("no longer available");
    expect(run.result).toMatchObject({ kind: "finished" });
  });
});

describe("an unknown outcome", () => {
  const lost: FakeTool = { name: "t", effect: "write", call: () => new Promise(() => {}) };

  const questionOf = ({ result }: Played) => (result?.kind === "interrupt" ? result.interrupts[0]?.id : null);

  it("asks again when nobody has decided: the same question, under its id", async () => {
    const before = await play({ scripts, tools: [lost] });
    const run = await resume(before, lost, {});
    expect(run.ledger).toEqual([]);
    expect(run.outcomes).toEqual([]);
    expect(run.result).toMatchObject({ kind: "interrupt" });
    expect(questionOf(run)).toMatch(/^int_/);
    expect(questionOf(run)).toBe(questionOf(before));
  });

  const down: FakeTool["call"] = async () => {
    throw new ToolFailed({ kind: "transient", code: "connection_failed", notSent: true });
  };
  const openCircuit = (): Circuit => ({
    guard: async () => ({
      kind: "open",
      circuit: {
        since: "2026-01-01T00:00:00.000Z",
        retryAt: "2026-01-01T00:01:00.000Z",
        failures: 5,
        last: { code: "timeout", detail: "", requestId: null, at: "2026-01-01T00:00:00.000Z" },
      },
    }),
  });

  it.each<[string, Partial<FakeTool>, string]>([
    ["never left", { call: down }, "connection_failed"],
    ["was held back by an open circuit", { circuit: openCircuit() }, "circuit_open"],
  ])("stays unknown when the attempt that a person allowed %s", async (_, more, code) => {
    const before = await play({ scripts, tools: [lost] });
    const decision = { kind: "retry" as const, by, attempts: 1, outcome: "unknown" };
    const run = await resume(before, { name: "t", effect: "write", ...more }, { decision, outcome: null });
    expect(run.outcomes).toMatchObject([{ outcome: { status: "outcome_unknown", failure: { code } } }]);
    expect(run.result).toMatchObject({ interrupts: [{ metadata: { outcome: "unknown", code } }] });
    expect(questionOf(run)).not.toBe(questionOf(before));
    const sure = await resume(
      before,
      { name: "t", effect: "write", ...more },
      { decision: { ...decision, outcome: "not_done" }, outcome: null },
    );
    expect(sure.outcomes).toEqual([]);
    expect(sure.result).toMatchObject({ interrupts: [{ metadata: { outcome: "not_done", code } }] });
  });

  it("is sent again with the same key when a person says so", async () => {
    const before = await play({ scripts, tools: [lost] });
    const run = await resume(before, { name: "t", effect: "write" }, { decision: { kind: "retry", by, attempts: 1 } });
    expect(run.ledger).toMatchObject([{ key: before.ledger[0]?.key }]);
    expect(run.begun).toMatchObject([{ attempts: 1 }]);
    expect(run.outcomes).toMatchObject([{ outcome: { status: "succeeded" } }]);
  });

  it("counts as done when a person says so", async () => {
    const before = await play({ scripts, tools: [lost] });
    const run = await resume(before, lost, { decision: { kind: "done", by } });
    expect(run.ledger).toEqual([]);
    expect(run.state.toolCalls[0]?.result).toContain("A person confirmed");
    expect(run.result).toMatchObject({ kind: "finished", text: "Then." });
    await verifyRun(run);
  });
});

describe("a run that is no longer this worker's", () => {
  it("stops with the reason and writes nothing more", async () => {
    const gone = new RunAbandoned("handed over");
    let abandonedAt = -1;
    const run = await play({
      scripts: [[{ say: "One two three four" }]],
      onEffect: (_name, count, cancel) => {
        if (count !== 4) return;
        abandonedAt = count;
        cancel(gone);
      },
    });
    expect(run.error).toBe(gone);
    expect(abandonedAt).toBe(4);
    expect(run.events).toHaveLength(4);
  });

  it("rejects with what an effect rejected with, and begins no further call", async () => {
    const lost = new Error("lease lost");
    const run = await play({
      scripts: [
        [
          { call: "a", arguments: {} },
          { call: "b", arguments: {} },
        ],
      ],
      tools: [
        { name: "a", effect: "write" },
        { name: "b", effect: "write" },
      ],
      onEffect: (name) => {
        if (name === "beginInvocation") throw lost;
      },
    });
    expect(run.error).toBe(lost);
    expect(run.ledger).toEqual([]);
    expect(run.begun).toHaveLength(1);
    expect(run.events.at(-1)).not.toMatchObject(custom("run.retrying", { attempt: 1, delayMs: 0, reason: "" }));
  });
});
