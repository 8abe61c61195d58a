import fc from "fast-check";
import { expect, test } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import { firstSeq, forAudience, type Envelope, type StoredEnvelope } from "./envelope.ts";
import { custom, type ConversationEvent } from "./events.ts";
import { mergeAdjacent, mergeEvents } from "./merge.ts";
import { reduce } from "./reduce.ts";
import { initialState } from "./state.ts";

const text = (messageId: string, delta: string): ConversationEvent => ({
  type: "TEXT_MESSAGE_CONTENT",
  messageId,
  delta,
});

function stored(seq: number, event: ConversationEvent, extra: Partial<StoredEnvelope> = {}): StoredEnvelope {
  return {
    seq,
    conversationId: "conv_1",
    runId: "run_1",
    at: `t${seq}`,
    correlationId: "c",
    audience: "all",
    event,
    ...extra,
  };
}

test("deltas of one message become one envelope that stands for all of them", () => {
  expect(mergeAdjacent([1, 2, 3].map((seq) => stored(seq, text("msg_1", String(seq)))))).toEqual([
    stored(3, text("msg_1", "123"), { from: 1 }),
  ]);
});

test("what is already merged merges further", () => {
  const merged = mergeAdjacent([
    stored(4, text("msg_1", "ab"), { from: 2 }),
    stored(6, text("msg_1", "cd"), { from: 5 }),
  ]);
  expect(merged).toEqual([stored(6, text("msg_1", "abcd"), { from: 2 })]);
});

test.each<[string, StoredEnvelope, StoredEnvelope]>([
  ["another message", stored(1, text("msg_1", "a")), stored(2, text("msg_2", "b"))],
  ["another run", stored(1, text("msg_1", "a")), stored(2, text("msg_1", "b"), { runId: "run_2" })],
  ["another audience", stored(1, text("msg_1", "a")), stored(2, text("msg_1", "b"), { audience: "staff" })],
  ["a missing seq between", stored(1, text("msg_1", "a")), stored(3, text("msg_1", "b"))],
  ["another kind", stored(1, text("msg_1", "a")), stored(2, { type: "TEXT_MESSAGE_END", messageId: "msg_1" })],
  [
    "another call",
    stored(1, { type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "a" }),
    stored(2, { type: "TOOL_CALL_ARGS", toolCallId: "call_2", delta: "b" }),
  ],
  ["a fact after hidden", stored(1, custom("hidden", {})), stored(2, custom("operator.joined", { name: "Ada" }))],
  [
    "two starts",
    stored(1, { type: "STEP_STARTED", stepName: "s" }),
    stored(2, { type: "STEP_STARTED", stepName: "s" }),
  ],
])("does not merge with %s", (_what, earlier, later) => {
  expect(mergeAdjacent([earlier, later])).toEqual([earlier, later]);
});

test("reasoning, arguments and hidden events merge too", () => {
  expect(
    mergeEvents(
      { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_1", delta: "a" },
      { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_1", delta: "b" },
    ),
  ).toEqual({ type: "REASONING_MESSAGE_CONTENT", messageId: "msg_1", delta: "ab" });
  expect(
    mergeEvents(
      { type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "a" },
      { type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "b" },
    ),
  ).toEqual({ type: "TOOL_CALL_ARGS", toolCallId: "call_1", delta: "ab" });
  expect(mergeEvents(custom("hidden", {}), custom("hidden", {}))).toEqual(custom("hidden", {}));
});

test("merging touches neither its input nor the events in it", () => {
  const events = [1, 2].map((seq) => Object.freeze(stored(seq, Object.freeze(text("msg_1", "a")))));
  mergeAdjacent(Object.freeze(events));
  expect(events).toEqual([stored(1, text("msg_1", "a")), stored(2, text("msg_1", "a"))]);
});

function seqs(envelopes: readonly Envelope[]): number[] {
  return envelopes.flatMap((envelope) => {
    const first = firstSeq(envelope);
    return Array.from({ length: envelope.seq - first + 1 }, (_, offset) => first + offset);
  });
}

test("any log: the fold of the merged is the fold of the log, before and after the cut to a reader", () => {
  fc.assert(
    fc.property(conversationLog, fc.constantFrom("all" as const, "staff" as const), (log, reader) => {
      const expected = reduce(
        initialState,
        log.map((envelope) => forAudience(envelope, reader)),
      );
      const mergedThenCut = mergeAdjacent(log).map((envelope) => forAudience(envelope, reader));
      const cutThenMerged = mergeAdjacent(log.map((envelope) => forAudience(envelope, reader)));
      const everything = Array.from({ length: log.length }, (_, index) => index + 1);
      for (const merged of [mergedThenCut, cutThenMerged, mergeAdjacent(mergedThenCut)]) {
        expect(reduce(initialState, merged)).toEqual(expected);
        expect(seqs(merged)).toEqual(everything);
      }
    }),
  );
});
