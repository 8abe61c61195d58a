import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { conversationLog } from "@agent-engine/protocol/arbitrary-log.ts";
import { noBrackets, trackBrackets } from "@agent-engine/protocol/brackets.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import { mergeAdjacent } from "@agent-engine/protocol/merge.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState } from "@agent-engine/protocol/state.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { forkHistory, type ForkHistory, type ForkSource, type OriginalStep } from "./fork-history.ts";
import { stepIndexOf } from "./step-name.ts";

/** Ids that no original has. */
function newIds(): (kind: string) => string {
  let n = 0;
  return (kind) => `${kind}_f${String(++n).padStart(31, "0")}`;
}

/** The run's tool steps as its workers would have recorded them. */
function stepsOf(log: readonly StoredEnvelope[], runId: string): OriginalStep[] {
  const { toolCalls } = reduce(initialState, log);
  const own = toolCalls.filter((call) => call.runId === runId);
  return [...Map.groupBy(own, ({ stepName }) => stepIndexOf(stepName))].map(([index, calls]) => ({
    index,
    text: "",
    invocations: calls.map((call, callIndex) => ({
      toolCallId: call.id,
      callIndex,
      key: `key of ${call.id}`,
      tool: call.name,
      effect: "write",
      arguments: {},
      toolkit: null,
      host: null,
      outcome: call.result === null ? null : { status: "succeeded", content: call.result },
    })),
  }));
}

/** A log, one of its runs, and one of that run's places. */
const cut = conversationLog
  .chain((log) =>
    fc.record({
      log: fc.constant(log),
      run: fc.constantFrom(...new Set(log.flatMap(({ runId }) => (runId === null ? [] : [runId])))),
      place: fc.double({ min: 0, max: 1, noNaN: true }),
      isMerged: fc.boolean(),
      gives: fc.boolean(),
    }),
  )
  .map(({ log, run, place, isMerged, gives }) => {
    const own = log.filter(({ runId }) => runId === run);
    const first = own[0]?.seq ?? 1;
    const seq = first + Math.floor(place * ((own.at(-1)?.seq ?? first) - first));
    const upTo = log.slice(0, seq);
    const steps = stepsOf(log, run);
    const calls = steps.flatMap((step) => step.invocations.map(({ toolCallId }) => toolCallId));
    const source: ForkSource = {
      origin: { runId: run, conversationId: log[0]?.conversationId ?? "", seq },
      log: isMerged ? mergeAdjacent(upTo) : upTo,
      message: { id: messageOf(own), text: "What else?" },
      steps,
      toolResults: gives ? Object.fromEntries(calls.map((id) => [id, "given"])) : {},
    };
    return { source, whole: log, fork: forkHistory(source, newIds()) };
  });

function messageOf(own: readonly StoredEnvelope[]): string {
  for (const { event } of own) if (event.type === "TEXT_MESSAGE_START" && event.role === "user") return event.messageId;
  throw new Error("every run answers a message");
}

const idsIn = (value: unknown): Set<string> =>
  new Set(JSON.stringify(value).match(/"(?:msg|call|run|int|conv)_\w+"/g) ?? []);

const runsOf = ({ events }: ForkHistory) => [
  ...new Set(events.flatMap(({ runId }) => (runId === null ? [] : [runId]))),
];

describe("the beginning of a fork, wherever its original is cut", () => {
  test("is a valid log in which everything is closed", async () => {
    await fc.assert(
      fc.asyncProperty(cut, async ({ fork }) => {
        for (const run of runsOf(fork)) {
          const own = fork.events.filter(({ runId }) => runId === run).map(({ event }) => event);
          const { unanswered: _, ...open } = own.reduce(trackBrackets, noBrackets);
          const { unanswered: __, ...none } = noBrackets;
          expect(open).toEqual(none);
          await verifyAgUi(own);
        }
        expect(fork.state.messages.filter(({ status }) => status === "streaming")).toEqual([]);
      }),
    );
  });

  test("has only the forked run still to do", () => {
    fc.assert(
      fc.property(cut, ({ fork }) => {
        const open = Object.values(fork.state.runs).filter(({ status }) =>
          ["queued", "running", "waiting"].includes(status),
        );
        expect(open.map(({ id, status }) => [id, status])).toEqual([
          [fork.runId, fork.events.some(isStartOf(fork.runId)) ? "running" : "queued"],
        ]);
        expect(fork.state.mode).toBe("agent");
        expect(fork.events[fork.firstSeq - 1]).toMatchObject({
          runId: fork.runId,
          event: { type: "TEXT_MESSAGE_START", role: "user", messageId: fork.messageId },
        });
      }),
    );
  });

  test("shares no id with its original, but where it says what it was copied from", () => {
    fc.assert(
      fc.property(cut, ({ source, fork }) => {
        const facts = fork.events
          .filter(({ event }) => !isFromElsewhere(event))
          .map(({ event: { ...event } }) => {
            if (event.type === "TOOL_CALL_RESULT") delete event.metadata;
            return event;
          });
        const old = idsIn(source.log.map(({ event, runId }) => ({ event, runId })));
        const calls = fork.steps.flatMap(({ invocations }) => invocations.map(({ toolCallId }) => toolCallId));
        expect([...idsIn([facts, calls])].filter((id) => old.has(id))).toEqual([]);
        const ids = fork.state.messages.map(({ id }) => id).concat(fork.state.toolCalls.map(({ id }) => id));
        expect(new Set(ids).size).toBe(ids.length);
      }),
    );
  });

  test("says what the original said up to the last recorded step, and after the changed message", () => {
    fc.assert(
      fc.property(cut, ({ source, fork }) => {
        const then = reduce(initialState, source.log);
        const lastStep = fork.steps.at(-1)?.index ?? -1;
        const stands = (item: { runId: string | null; stepName: string | null }, run: string) =>
          item.runId !== run || stepIndexOf(item.stepName) <= lastStep;
        const isHere = (runId: string | null) => {
          const status = runId === null ? "none" : then.runs[runId]?.status;
          return runId === source.origin.runId || status !== "queued";
        };
        const original = then.messages
          .filter((message) => isHere(message.runId) && stands(message, source.origin.runId))
          .map(({ id, role, text }) => [role, id === source.message.id ? "What else?" : text]);
        expect(fork.state.messages.map(({ role, text }) => [role, text])).toEqual(original);
      }),
    );
  });

  test("holds a recorded step when all its calls had been asked for, with what had been answered", () => {
    fc.assert(
      fc.property(cut, ({ source, whole, fork }) => {
        for (const step of source.steps) {
          const ends = step.invocations.map(({ toolCallId }) => endOf(whole, toolCallId));
          const isWhole = ends.every((seq) => seq <= source.origin.seq);
          expect([step.index, fork.steps.some(({ index }) => index === step.index)]).toEqual([step.index, isWhole]);
        }
        for (const { invocations } of fork.steps) {
          for (const { toolCallId, outcome } of invocations) {
            const call = fork.state.toolCalls.find(({ id }) => id === toolCallId);
            expect(outcome?.content ?? null).toBe(call?.result ?? null);
          }
        }
      }),
    );
  });
});

const isStartOf = (run: string) => (entry: ForkHistory["events"][number]) =>
  entry.runId === run && entry.event.type === "RUN_STARTED";

/** Facts that newer code wrote, and those that name another log. */
function isFromElsewhere(event: ForkHistory["events"][number]["event"]): boolean {
  return event.type === "CUSTOM" && event.name === "run.forked";
}

function endOf(log: readonly StoredEnvelope[], toolCallId: string): number {
  return log.find(({ event }) => event.type === "TOOL_CALL_END" && event.toolCallId === toolCallId)?.seq ?? Infinity;
}
