/** The property of delivery: a quick run of it goes with every change, a long one with `npm run test:long`. */
import fc from "fast-check";
import { expect } from "vitest";
import { conversationLog } from "./arbitrary-log.ts";
import { deliver } from "./deliver.ts";
import { forAudience, type Envelope } from "./envelope.ts";
import { mergeAdjacent } from "./merge.ts";
import { reduce } from "./reduce.ts";
import { initialState } from "./state.ts";

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

/** Any shuffling, repetition, loss and merging of deliveries, with refetch, ends in the state of the straight fold. */
export function assertDelivery(numRuns: number, seed?: number): void {
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
    { numRuns, ...(seed === undefined ? {} : { seed }) },
  );
}
