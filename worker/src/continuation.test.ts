/**
 * A run whose worker dies: where the log can be cut, and how the next worker goes on. Played with the real engine in
 * memory; durable is what a worker would have committed: a step with everything before it, a result once recorded, and
 * of the events after them any beginning.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { custom, type ConversationEvent, type Interrupt } from "@agent-engine/protocol/events.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { planContinuation, readHistory, type Continuation } from "./continuation.ts";
import type { RecordedStep } from "./engine/effects.ts";
import { CONVERSATION, envelopes, fold, play, RUN, userMessage, type FakeTool } from "./engine/engine-harness.ts";
import type { Action } from "./engine/scripted-model.ts";

const CLAIM = { runId: RUN as `run_${string}`, conversationId: CONVERSATION as `conv_${string}`, attempt: 2 };

type Kind = "start" | "takeover" | "resume";

const asked = userMessage("msg_question", "What is it?");
const started: ConversationEvent = { type: "RUN_STARTED", threadId: CONVERSATION, runId: RUN };
const finished: ConversationEvent = {
  type: "RUN_FINISHED",
  threadId: CONVERSATION,
  runId: RUN,
  outcome: { type: "success" },
};

/** What the next worker makes of a log, read in pages of some size. */
async function plan(
  kind: Kind,
  log: readonly ConversationEvent[],
  step: RecordedStep | null,
  pageSize = 100,
): Promise<Continuation> {
  async function* pages() {
    const all = envelopes(
      log.map((event) => ({ event, runId: RUN })),
      0,
    );
    for (let from = 0; from < all.length; from += pageSize) {
      yield all.slice(from, from + pageSize).map((envelope) => ({ ...envelope, audience: "all" as const }));
    }
  }
  const history = await readHistory(pages(), RUN);
  return planContinuation({ ...CLAIM, kind }, history, step);
}

const namesOf = (events: readonly ConversationEvent[]) =>
  events.map((event) => (event.type === "CUSTOM" ? event.name : event.type));

describe("a run goes on", () => {
  const step = (index: number): ConversationEvent => ({ type: "STEP_STARTED", stepName: `step-${index}` });
  const closed = (index: number): ConversationEvent => ({ type: "STEP_FINISHED", stepName: `step-${index}` });
  const saying = (id: string): ConversationEvent[] => [
    { type: "TEXT_MESSAGE_START", messageId: id, role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: id, delta: "Well" },
  ];
  const calling: ConversationEvent[] = [
    { type: "TOOL_CALL_START", toolCallId: "call_1", toolCallName: "t" },
    { type: "TOOL_CALL_END", toolCallId: "call_1" },
  ];
  const recorded = (outcome: RecordedStep["invocations"][number]["outcome"]): RecordedStep => ({
    index: 0,
    key: `${RUN}:0`,
    text: "",
    usage: null,
    invocations: [
      {
        toolCallId: "call_1",
        callIndex: 0,
        toolName: "t",
        effect: "write",
        idempotencyKey: "k",
        arguments: {},
        attempts: 1,
        startedAt: 0,
        outcome,
        decision: null,
      },
    ],
  });
  const parked = (interrupt: Partial<Interrupt> = {}): ConversationEvent => ({
    type: "RUN_FINISHED",
    threadId: CONVERSATION,
    runId: RUN,
    outcome: { type: "interrupt", interrupts: [{ id: "int_1", reason: "operator", ...interrupt }] },
  });
  const resumed = custom("run.resumed", { interruptId: "int_1", decision: "retry", by: "operator" });

  test.each<Kind>(["start", "takeover"])("from its start when nothing was written (%s)", async (kind) => {
    const next = await plan(kind, asked, null);
    expect(next.events).toEqual([started]);
    expect(next).toMatchObject({ stepIndex: 0, history: { runs: { [RUN]: { status: "running" } } } });
    expect(next).not.toHaveProperty("resumeStep");
  });

  test("from where its copy ends, and without a word, when it is a fork that begins in the middle", async () => {
    const forked = custom("run.forked", { runId: "run_1", conversationId: "conv_1", seq: 9 });
    const copied = [...asked, started, step(0), ...calling, closed(0), forked];
    const next = await plan("start", copied, recorded(null));
    expect(next.events).toEqual([]);
    expect(next).toMatchObject({ stepIndex: 0, resumeStep: { index: 0 } });
    const later = await plan("takeover", [...copied, step(0)], recorded(null));
    expect(namesOf(later.events)).toEqual(["run.retrying", "STEP_FINISHED"]);
    expect(later.resumeStep).toMatchObject({ index: 0 });
  });

  test("from its first step when only its start was written", async () => {
    const next = await plan("takeover", [...asked, started], null);
    expect(next.events).toEqual([custom("run.retrying", { attempt: 2, delayMs: 0, reason: "worker_lost" })]);
    expect(next.stepIndex).toBe(0);
  });

  test("from the turn that was cut, whose text and calls are taken back", async () => {
    const cut = [...asked, started, step(0), ...saying("msg_1"), ...calling.slice(0, 1)];
    const next = await plan("takeover", cut, null);
    expect(namesOf(next.events)).toEqual([
      "run.retrying",
      "TEXT_MESSAGE_END",
      "TOOL_CALL_END",
      "STEP_FINISHED",
      "run.superseded",
    ]);
    expect(next.events.at(-1)).toEqual(custom("run.superseded", { messageIds: ["msg_1"], toolCallIds: ["call_1"] }));
    expect(next.history).toMatchObject({ messages: [{ role: "user" }], toolCalls: [] });
    expect(next.stepIndex).toBe(0);
  });

  test("from a call whose result nobody recorded: the turn stands", async () => {
    const cut = [...asked, started, step(0), ...saying("msg_1"), ...calling];
    const next = await plan("takeover", cut, recorded(null));
    expect(namesOf(next.events)).toEqual(["run.retrying", "TEXT_MESSAGE_END", "STEP_FINISHED"]);
    expect(next).toMatchObject({ stepIndex: 0, resumeStep: { index: 0 } });
    expect(next.history.messages).toHaveLength(2);
  });

  test("from a call whose result is recorded and not in the log", async () => {
    const cut = [...asked, started, step(0), ...calling];
    const next = await plan("takeover", cut, recorded({ status: "succeeded", content: "ok" }));
    expect(next).toMatchObject({ stepIndex: 0, resumeStep: { index: 0 } });
  });

  test("from the next turn when every result is in the log", async () => {
    const result: ConversationEvent = {
      type: "TOOL_CALL_RESULT",
      messageId: "msg_r",
      toolCallId: "call_1",
      content: "ok",
      role: "tool",
    };
    const outcome = { status: "succeeded" as const, content: "ok" };
    for (const more of [[], [closed(0)], [closed(0), step(1)], [closed(0), step(1), ...saying("msg_2")]]) {
      const next = await plan("takeover", [...asked, started, step(0), ...calling, result, ...more], recorded(outcome));
      expect(next.stepIndex).toBe(1);
      expect(next).not.toHaveProperty("resumeStep");
      expect(next.history.messages).toHaveLength(1);
      expect(next.history.toolCalls).toHaveLength(1);
    }
  });

  test("after a decision about a call: its step is finished first", async () => {
    const log = [...asked, started, step(0), ...calling, closed(0), parked({ toolCallId: "call_1" }), resumed];
    const next = await plan("resume", log, recorded(null));
    expect(next.events).toEqual([started]);
    expect(next).toMatchObject({ stepIndex: 0, resumeStep: { index: 0 } });
  });

  test("after a decision about the model: the turn is made again", async () => {
    const gone = custom("run.superseded", { messageIds: ["msg_1"], toolCallIds: [] });
    const log = [...asked, started, step(0), ...saying("msg_1"), closed(0), gone, parked(), resumed];
    expect(await plan("resume", log, null)).toMatchObject({ events: [started], stepIndex: 0 });
  });

  test("when the worker that was to go on after a decision died before its first word", async () => {
    const log = [...asked, started, step(0), ...calling, closed(0), parked({ toolCallId: "call_1" }), resumed];
    const next = await plan("takeover", log, recorded(null));
    expect(next.events).toEqual([started]);
    expect(next).toMatchObject({ stepIndex: 0, resumeStep: { index: 0 } });
  });

  test("with the time that it was active: not while it waited, nor while nobody had it", async () => {
    const at = (seconds: number) =>
      `2026-01-01T00:${String(Math.floor(seconds / 60)).padStart(2, "0")}:${String(seconds % 60).padStart(2, "0")}.000Z`;
    const timed: [number, ConversationEvent][] = [
      ...asked.map((event): [number, ConversationEvent] => [0, event]),
      [10, started],
      [14, parked()],
      [600, resumed],
      [610, started],
      [613, step(0)],
      [640, custom("run.retrying", { attempt: 2, delayMs: 0, reason: "worker_lost" })],
      [642, step(0)],
    ];
    const log = envelopes(
      timed.map(([, event]) => ({ event, runId: RUN })),
      0,
    ).map((envelope, index) => ({ ...envelope, at: at(timed[index]?.[0] ?? 0), audience: "all" as const }));
    async function* page() {
      yield log;
    }
    expect(await readHistory(page(), RUN)).toMatchObject({ activeMs: 9_000 });
  });

  test("and what others said and other runs did is never taken back", async () => {
    const before = envelopes(
      [...userMessage("msg_before", "Hi"), step(5), ...saying("msg_other")].map((event) => ({
        event,
        runId: "run_before",
      })),
      0,
    );
    const own = envelopes(
      [...asked, started, step(0), ...saying("msg_1")].map((event) => ({ event, runId: RUN })),
      before.length,
    );
    async function* page() {
      yield [...before, ...own].map((envelope) => ({ ...envelope, audience: "all" as const }));
    }
    const claim = { ...CLAIM, kind: "takeover" as const };
    const next = planContinuation(claim, await readHistory(page(), RUN), null);
    expect(next.events).toContainEqual(custom("run.superseded", { messageIds: ["msg_1"], toolCallIds: [] }));
    expect(next.history.messages.map(({ id }) => id)).toEqual(["msg_before", "msg_other", "msg_question"]);
  });
});

describe("wherever its workers die", () => {
  const call = fc.record({ name: fc.constantFrom("look", "set", "send"), failures: fc.nat(1) });
  const turn = fc.record({
    think: fc.boolean(),
    say: fc.boolean(),
    calls: fc.array(call, { minLength: 1, maxLength: 3 }),
    /** Attempts of the model that break after so many words. */
    broken: fc.array(fc.nat(3), { maxLength: 1 }),
  });
  const script = fc.record({
    turns: fc.array(turn, { maxLength: 3 }),
    brokenEnd: fc.array(fc.nat(3), { maxLength: 1 }),
  });
  /** When a worker dies, and how much of what it wrote last was committed; fractions of what is possible. */
  const death = fc.record({
    time: fc.double({ min: 0, max: 1, noNaN: true }),
    log: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  type Script = typeof script extends fc.Arbitrary<infer T> ? T : never;

  const effects = { look: "read", set: "idempotent", send: "write" } as const;
  const textOf = (index: number) => `Step ${index} says this. `;

  /** A step's attempts, the last of which succeeds. */
  function attemptsOf({ turns, brokenEnd }: Script): Action[][][] {
    const broken = (words: number): Action[] => [{ say: "no ".repeat(words + 1) }, { cut: true }];
    const steps = turns.map((one, index) => [
      ...one.broken.map(broken),
      [
        ...(one.think ? [{ think: "Hm." }] : []),
        ...(one.say ? [{ say: textOf(index) }] : []),
        ...one.calls.map(({ name }, at) => ({ call: name, arguments: { index, at } })),
      ],
    ]);
    return [...steps, [...brokenEnd.map(broken), [{ say: "The end." }]]];
  }

  test("the visitor reads every text once, no call is repeated that must not be, and no recorded turn is asked again", async () => {
    await fc.assert(
      fc.asyncProperty(
        script,
        fc.array(death, { maxLength: 3 }),
        fc.integer({ min: 1, max: 9 }),
        async (plot, deaths, pageSize) => {
          const attempts = attemptsOf(plot);
          const world = fakeWorld(plot);
          let log: ConversationEvent[] = [...asked];
          let step: RecordedStep | null = null;
          for (let life = 0; ; life++) {
            const next = await plan(life === 0 ? "start" : "takeover", log, step, pageSize);
            await verifyAgUi([...log, ...next.events, finished]);
            expectRecordedToStand(next, step);

            const death = deaths[life];
            const names: string[] = next.events.map(() => "emit");
            const played = await play({
              scripts: attempts.slice(next.resumeStep ? next.stepIndex + 1 : next.stepIndex).flat(),
              tools: world.tools,
              usedIds: life * 1_000,
              onEffect: (name) => void names.push(name),
              input: {
                history: next.history,
                stepIndex: next.stepIndex,
                ...(next.resumeStep ? { resumeStep: structuredClone(next.resumeStep) } : {}),
              },
            });
            if (!death) {
              const all = [...log, ...next.events, ...played.events];
              await verifyAgUi([...all, finished]);
              if (played.result?.kind === "interrupt") return expectOnlyUnknownWrites(played.result.interrupts);
              expect(played.result).toMatchObject({ kind: "finished", finishReason: "stop", text: "The end." });
              const texts = fold(all.map((event) => ({ event, runId: RUN }))).messages.map(({ text }) => text);
              const said = plot.turns.flatMap((one, index) => (one.say ? [textOf(index)] : []));
              expect(texts).toEqual(["What is it?", ...said, "The end."]);
              return;
            }
            const until = Math.floor(death.time * names.length);
            const emitted = [...next.events, ...played.events];
            const durable = durableAt(names.slice(0, until), death.log);
            log = [...log, ...emitted.slice(0, durable)];
            step = storedAt(names.slice(0, until), played, step);
            world.forget(
              played.ledger.slice(names.slice(0, until).filter((name) => name === "beginInvocation").length),
            );
            if (played.result?.kind === "interrupt") return expectOnlyUnknownWrites(played.result.interrupts);
          }
        },
      ),
      { numRuns: 300, seed: 7 },
    );
  });

  function expectRecordedToStand(next: Continuation, step: RecordedStep | null): void {
    const recorded = step?.index ?? -1;
    const own = [...next.history.messages, ...next.history.toolCalls].filter(({ stepName }) => stepName !== null);
    expect(own.filter(({ stepName }) => Number(stepName?.slice(5)) > recorded)).toEqual([]);
    const standing = next.history.toolCalls.map(({ id }) => id);
    expect(standing).toEqual(expect.arrayContaining(step?.invocations.map(({ toolCallId }) => toolCallId) ?? []));
    const isUnanswered = (id: string) => next.history.toolCalls.find((one) => one.id === id)?.result === null;
    const isUnfinished = step?.invocations.some(
      ({ toolCallId, outcome }) => outcome === null || isUnanswered(toolCallId),
    );
    expect(next.resumeStep !== undefined).toBe(isUnfinished ?? false);
    expect(next.stepIndex).toBe(isUnfinished ? recorded : recorded + 1);
  }

  const expectOnlyUnknownWrites = (interrupts: readonly Interrupt[]) => {
    for (const { reason, metadata } of interrupts) {
      expect({ reason, ...metadata }).toMatchObject({ reason: "operator", effect: "write", code: "interrupted" });
    }
  };

  /** How many of the events emitted so far are in the log: everything before the last step, and some of what followed. */
  function durableAt(names: readonly string[], fraction: number): number {
    const emits = (some: readonly string[]) => some.filter((name) => name === "emit").length;
    const least = emits(names.slice(0, names.lastIndexOf("recordToolStep") + 1));
    return least + Math.floor(fraction * (emits(names) - least));
  }

  /** The last step's rows as the dead worker left them. */
  function storedAt(
    names: readonly string[],
    played: Awaited<ReturnType<typeof play>>,
    before: RecordedStep | null,
  ): RecordedStep | null {
    const seen = (name: string) => names.filter((one) => one === name).length;
    const step = structuredClone(played.steps.slice(0, seen("recordToolStep")).at(-1) ?? before);
    for (const { idempotencyKey } of played.begun.slice(0, seen("beginInvocation"))) {
      const row = step?.invocations.find((one) => one.idempotencyKey === idempotencyKey);
      if (row) row.attempts++;
    }
    for (const { invocation, outcome } of played.outcomes.slice(0, seen("recordResult"))) {
      const row = step?.invocations.find((one) => one.idempotencyKey === invocation.idempotencyKey);
      if (row) row.outcome = outcome;
    }
    return step;
  }

  /** Tools whose writes refuse to happen twice, and which fail as often as the plot says before they answer. */
  function fakeWorld(plot: Script) {
    const written = new Set<string>();
    const failed = new Map<string, number>();
    const tools = Object.entries(effects).map(([name, effect]): FakeTool => ({
      name,
      effect,
      async call({ idempotencyKey, arguments: args }) {
        const { index, at } = args as { index: number; at: number };
        const failures = effect === "write" ? 0 : (plot.turns[index]?.calls[at]?.failures ?? 0);
        const before = failed.get(idempotencyKey) ?? 0;
        failed.set(idempotencyKey, before + 1);
        if (before < failures) throw new Error("no answer");
        if (effect === "write" && written.has(idempotencyKey)) throw new Error("a write was sent twice");
        written.add(idempotencyKey);
        return { content: { ok: name } };
      },
    }));
    return {
      tools,
      /** Calls of a worker that had died before it made them. */
      forget: (calls: readonly { key: string }[]) => {
        for (const { key } of calls) written.delete(key);
      },
    };
  }
});
