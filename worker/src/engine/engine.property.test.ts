import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { closeBrackets, noBrackets, trackBrackets } from "@agent-engine/protocol/brackets.ts";
import { play, RUN, ToolFailed, verifyRun, type FakeTool, type Played, type Scenario } from "./engine-harness.ts";
import type { Action } from "./scripted-model.ts";

const words = fc.string({ unit: "grapheme", maxLength: 12 });
const failure = fc.record({
  kind: fc.constantFrom("transient" as const, "permanent" as const, "needs_person" as const),
  code: fc.constantFrom("unavailable", "rate_limited"),
});
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: words.map((say) => ({ say })) },
  {
    weight: 3,
    arbitrary: fc.constantFrom("read", "idem", "write", "ask", "nothing").map((call) => ({ call, arguments: {} })),
  },
  { weight: 1, arbitrary: fc.constant<Action>({ call: "read", arguments: "{bad" }) },
  { weight: 1, arbitrary: words.map((think) => ({ think })) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 40_000 }).map((wait) => ({ wait })) },
  { weight: 1, arbitrary: failure.map((fail) => ({ fail })) },
  { weight: 1, arbitrary: failure.map((errorPart) => ({ errorPart })) },
  { weight: 1, arbitrary: fc.constantFrom<Action>({ hang: true }, { cut: true }, { finish: "length" }) },
);
const scripts = fc.array(fc.array(action, { maxLength: 6 }), { maxLength: 8 });
/** What the calls of a run meet, in order; past the end they succeed. */
const fates = fc.array(fc.constantFrom("ok", "transient", "unknown", "permanent", "hang", "refused"), {
  maxLength: 10,
});

function tools(left: string[]): FakeTool[] {
  const call = async () => {
    const fate = left.shift() ?? "ok";
    if (fate === "hang") return new Promise<never>(() => {});
    if (fate === "refused") return { content: "no", isError: true };
    if (fate === "transient") throw new ToolFailed({ kind: "transient" });
    if (fate === "unknown") throw new ToolFailed({ kind: "unknown_outcome" });
    if (fate === "permanent") throw new ToolFailed({ kind: "permanent" });
    return { content: { ok: true } };
  };
  return [
    { name: "read", call },
    { name: "idem", effect: "idempotent", call },
    { name: "write", effect: "write", call },
    { name: "ask", effect: "write", policy: "approve", call },
  ];
}

/** What holds for every run, however it went. */
async function checkRun(run: Played): Promise<void> {
  expect(run.error).toBeNull();
  await verifyRun(run);
  expect(closeBrackets(run.events.reduce(trackBrackets, noBrackets))).toEqual([]);

  const results = run.events.filter((event) => event.type === "TOOL_CALL_RESULT").map((event) => event.toolCallId);
  expect(new Set(results).size, "one result a call").toBe(results.length);
  const open = run.state.toolCalls.filter((call) => call.result === null);
  if (run.result?.kind !== "interrupt") expect(open, "no call without a result").toEqual([]);

  const sent = Map.groupBy(run.ledger, (entry) => entry.key);
  for (const [key, entries] of sent) {
    expect(new Set(entries.map((entry) => entry.name)).size, "one call a key").toBe(1);
    const first = entries[0];
    if (first?.name === "write" || first?.name === "ask")
      expect(entries, `one attempt at a write: ${key}`).toHaveLength(1);
  }
  expect(sent.size).toBeLessThanOrEqual(run.steps.flatMap((step) => step.invocations).length);
  expect(
    run.ledger.every((entry) => entry.name !== "ask"),
    "nothing unapproved is sent",
  ).toBe(true);
  expect(run.outcomes.length, "recorded once").toBe(
    new Set(run.outcomes.map((it) => it.invocation.idempotencyKey)).size,
  );

  const steps = run.steps.map((step) => step.index);
  expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
  for (const message of run.state.messages) if (message.runId === RUN) expect(message.status).not.toBe("streaming");
}

describe("every run, whatever the model and the tools do", () => {
  it("is a valid AG-UI run in which nothing is done twice and nothing is left open", async () => {
    await fc.assert(
      fc.asyncProperty(
        scripts,
        fates,
        fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
        async (s, f, rnd) => {
          const random = () => rnd.next().value as number;
          await checkRun(await play({ scripts: s, tools: tools([...f]), random, agent: { limits: { maxSteps: 6 } } }));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("stays so when it is cancelled at any effect", async () => {
    await fc.assert(
      fc.asyncProperty(scripts, fates, fc.nat({ max: 60 }), async (s, f, at) => {
        const scenario: Scenario = {
          scripts: s,
          tools: tools([...f]),
          agent: { limits: { maxSteps: 6 } },
          onEffect: (_name, count, cancel) => count === at && cancel(),
        };
        const run = await play(scenario);
        await checkRun(run);
      }),
      { numRuns: 2000 },
    );
  });

  it("stays so when it is cancelled at any time", async () => {
    await fc.assert(
      fc.asyncProperty(scripts, fates, fc.nat({ max: 120_000 }), async (s, f, cancelAfterMs) => {
        const run = await play({ scripts: s, tools: tools([...f]), cancelAfterMs });
        await checkRun(run);
        if (run.result?.kind === "finished" && run.result.finishReason === "cancelled") {
          expect(run.clock.now() - Date.UTC(2026, 0, 1)).toBeLessThanOrEqual(cancelAfterMs);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it("begins no call after an effect has rejected", async () => {
    const lost = new Error("lease lost");
    await fc.assert(
      fc.asyncProperty(scripts, fates, fc.nat({ max: 40 }), async (s, f, at) => {
        let rejectedAt = -1;
        // Calls side by side are begun in one go: those in the same turn as the rejected one cannot know of it.
        let isKnown = false;
        let late = 0;
        const run = await play({
          scripts: s,
          tools: tools([...f]),
          onEffect: (name, count) => {
            if (isKnown && name === "beginInvocation") late++;
            if (count < at || name === "emit" || rejectedAt >= 0) return;
            rejectedAt = count;
            queueMicrotask(() => (isKnown = true));
            throw lost;
          },
        });
        if (rejectedAt >= 0) expect(run.error).toBe(lost);
        expect(late).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });
});
