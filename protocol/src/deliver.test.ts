import fc from "fast-check";
import { expect, test } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import { deliver } from "./deliver.ts";
import { forAudience, type Envelope } from "./envelope.ts";
import type { ConversationEvent } from "./events.ts";
import { mergeAdjacent } from "./merge.ts";
import { reduce } from "./reduce.ts";
import { initialState } from "./state.ts";

const delta = (seq: number, from?: number): Envelope => ({
  seq,
  ...(from === undefined ? {} : { from }),
  conversationId: "conv_1",
  runId: null,
  at: "",
  correlationId: "",
  event: { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: String(seq) },
});

test("what follows the cursor is applied, what is known is dropped", () => {
  const first = deliver(initialState, [delta(1), delta(2)]);
  expect(first).toMatchObject({ gap: false, state: { lastSeq: 2 } });
  expect(deliver(first.state, [delta(1), delta(2)])).toEqual({ gap: false, state: first.state });
  expect(deliver(first.state, [delta(2), delta(3)])).toMatchObject({ gap: false, state: { lastSeq: 3 } });
});

test("a hole is reported, and nothing behind it is applied", () => {
  expect(deliver(initialState, [delta(1), delta(3), delta(4)])).toMatchObject({ gap: true, state: { lastSeq: 1 } });
});

test("what comes late in the same delivery still closes the hole up to itself", () => {
  expect(deliver(initialState, [delta(2), delta(1)])).toMatchObject({ gap: true, state: { lastSeq: 1 } });
});

test("an envelope that overlaps the cursor is never applied in part", () => {
  const { state } = deliver(initialState, [delta(1), delta(2)]);
  expect(deliver(state, [delta(4, 2)])).toMatchObject({ gap: true, state: { lastSeq: 2 } });
  expect(deliver(state, [delta(4, 3)])).toMatchObject({ gap: false, state: { lastSeq: 4 } });
});

/** What a wire does to one push: where in the log it begins, how much it holds, whether it is merged, and its fate. */
const push = fc.record({
  from: fc.nat(120),
  size: fc.integer({ min: 1, max: 20 }),
  isMerged: fc.boolean(),
  /** Pairs of places in the push to swap. */
  swaps: fc.array(fc.tuple(fc.nat(19), fc.nat(19)), { maxLength: 3 }),
  lost: fc.array(fc.nat(19), { maxLength: 3 }),
  isRefetchLost: fc.boolean(),
});

test("any shuffling, repetition, loss and merging of deliveries, with refetch, ends in the state of the straight fold", () => {
  fc.assert(
    fc.property(
      conversationLog,
      fc.array(push, { maxLength: 25 }),
      fc.integer({ min: 1, max: 30 }),
      fc.constantFrom("all" as const, "staff" as const),
      (stored, pushes, pageSize, reader) => {
        const log = stored.map((envelope) => forAudience(envelope, reader));
        const expected = reduce(initialState, log);
        /** As the API reads: after the cursor, merged, in pages. */
        const read = (after: number) => mergeAdjacent(log.slice(after, after + pageSize));

        let state = initialState;
        let mustRefetch = false;
        const apply = (envelopes: readonly Envelope[]) => {
          const before = state.lastSeq;
          const { state: next, gap } = deliver(state, envelopes);
          expect(next.lastSeq).toBeGreaterThanOrEqual(before);
          // Whatever has arrived, what is shown is the fold of a prefix of the log.
          expect(next).toEqual(reduce(initialState, log.slice(0, next.lastSeq)));
          state = next;
          mustRefetch ||= gap;
        };
        for (const { from, size, isMerged, swaps, lost, isRefetchLost } of pushes) {
          let batch: Envelope[] = log.slice(from, from + size);
          if (isMerged) batch = mergeAdjacent(batch);
          batch = batch.filter((_, index) => !lost.includes(index));
          for (const [a, b] of swaps) {
            const [left, right] = [batch[a], batch[b]];
            if (left && right) [batch[a], batch[b]] = [right, left];
          }
          apply(batch);
          if (!mustRefetch || isRefetchLost) continue;
          const page = read(state.lastSeq);
          const cursor = state.lastSeq;
          mustRefetch = false;
          apply(page);
          // A refetch always makes progress while there is something to read.
          expect(mustRefetch).toBe(false);
          expect(state.lastSeq).toBe(page.at(-1)?.seq ?? cursor);
        }
        // In the end the reader learns of the head and reads up to it.
        while (state.lastSeq < log.length) apply(read(state.lastSeq));
        expect(state).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("unknown events move the cursor like any other", () => {
  const unknown = { ...delta(1), event: { type: "FROM_THE_FUTURE" } as unknown as ConversationEvent };
  expect(deliver(initialState, [unknown, delta(2)])).toMatchObject({ gap: false, state: { lastSeq: 2, messages: [] } });
});
