import { expect, it } from "vitest";
import { percentile, spread } from "./statistics.ts";

it("takes the nearest rank", () => {
  const samples = [5, 1, 4, 2, 3];
  expect([0, 20, 21, 50, 95, 100].map((p) => percentile(samples, p))).toEqual([1, 1, 2, 3, 5, 5]);
  expect(percentile([], 50)).toBeNaN();
  expect(spread([1, 2, 3, 4])).toEqual({ p50: 2, p95: 4, p99: 4, max: 4, count: 4 });
});
