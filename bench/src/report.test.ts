import { expect, it } from "vitest";
import { table } from "./report.ts";

it("shows each figure beside the raw one and its goals", () => {
  const text = table([
    { name: "first token", value: 12.345, unit: "ms", raw: 2, ratio: 7.17, must: 20, aim: 10, better: "lower" },
    { name: "runs", value: 200, unit: "1/s", raw: null, ratio: null, must: 140, aim: null, better: "higher" },
  ]);
  expect(text.split("\n").map((line) => line.replaceAll(/ {2,}/g, " | "))).toEqual([
    " | measured | model alone | ratio | must | aim",
    "first token | 12.3 ms | 2 | 7.17× | ≤ 20 ✓ | ≤ 10 ✗",
    "runs | 200 1/s | ≥ 140 ✓ | ",
  ]);
});
