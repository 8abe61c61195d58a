import { describe, expect, test } from "vitest";
import { createDelayEstimate } from "./expected-delay.ts";

describe("the time a run is expected to wait", () => {
  test("is none where a place is free", () => {
    const delayOf = createDelayEstimate({ places: 2, held: [100], served: [1_000] });
    expect([delayOf(0), delayOf(1), delayOf(2)]).toEqual([0, 900, 1_000]);
  });

  test("follows from how long those under way have lasted, and past runs that lasted as long", () => {
    expect(createDelayEstimate({ places: 1, held: [300], served: [1_000, 1_000] })(0)).toBe(700);
    // Half of them are over by now; the others last ten seconds.
    expect(createDelayEstimate({ places: 1, held: [4_000], served: [1_000, 10_000] })(0)).toBe(6_000);
    // It has lasted longer than any.
    expect(createDelayEstimate({ places: 1, held: [60_000], served: [2_000] })(0)).toBe(1_000);
  });

  test("rises by the time of one run for as many as there are places", () => {
    const delayOf = createDelayEstimate({ places: 2, held: [0, 500], served: [1_000] });
    expect([0, 1, 2, 3, 100].map(delayOf)).toEqual([500, 1_000, 1_500, 2_000, 50_500]);
    const crowd = createDelayEstimate({ places: 2, held: [0, 500], served: [1_000] });
    expect(Math.abs(crowd(9_999) - 5_000_000)).toBeLessThan(1_000);
    expect(createDelayEstimate({ places: 1_000, held: [], served: [4_000] })(499)).toBe(2_000);
  });

  test("is a guess while no run has ended, which grows with those under way", () => {
    expect(createDelayEstimate({ places: 1, held: [0], served: [] })(0)).toBe(5_000);
    expect(createDelayEstimate({ places: 1, held: [20_000], served: [] })(1)).toBe(60_000);
  });

  test("stays finite without any place, and where places were taken away", () => {
    expect(createDelayEstimate({ places: 0, held: [], served: [1_000] })(3)).toBe(3_000);
    expect(createDelayEstimate({ places: 1, held: [0, 0, 900], served: [1_000] })(0)).toBe(100);
  });
});

/** A number from 0 to 1, the same ones in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) % 4_294_967_296;
    return (state + 0.5) / 4_294_967_296;
  };
}

const durations: [string, (random: () => number) => number][] = [
  ["that last alike", () => 2_000],
  ["of one to three seconds", (random) => 1_000 + 2_000 * random()],
  ["that last exponentially", (random) => -2_000 * Math.log(random())],
  ["of which one in five lasts ten times as long", (random) => (random() < 0.2 ? 7_000 : 700)],
];

describe("in a steady overload at two places", () => {
  test.each(durations)(
    "runs %s wait as long as they were told, within a half, four times out of five",
    (_name, lasts) => {
      const random = seeded(7);
      const places = 2;
      const served: number[] = [];
      const busy: { since: number; until: number }[] = [];
      const line: { at: number; expected: number }[] = [];
      let [good, all] = [0, 0];
      let now = 0;
      let arrival = 0;
      while (all < 2_000) {
        const end = Math.min(...busy.map(({ until }) => until));
        if (arrival <= end) {
          now = arrival;
          // Nearly as fast as they are served, from a line of sixteen.
          arrival += line.length < 16 ? 0 : 1_050 * 2 * random();
          const held = busy.map(({ since }) => now - since);
          const expected = createDelayEstimate({ places, held, served })(line.length);
          line.push({ at: now, expected });
        } else {
          now = end;
          const index = busy.findIndex(({ until }) => until === end);
          const [ended] = busy.splice(index, 1);
          if (ended) served.push(ended.until - ended.since);
          if (served.length > 64) served.shift();
        }
        while (busy.length < places && line.length > 0) {
          const next = line.shift();
          if (next && served.length === 64) {
            all++;
            if (Math.abs(next.expected - (now - next.at)) <= (now - next.at) / 2) good++;
          }
          busy.push({ since: now, until: now + lasts(random) });
        }
      }
      expect(good / all).toBeGreaterThanOrEqual(0.8);
    },
  );
});
