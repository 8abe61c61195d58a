/** Several runs of the full form become one result, or none. */
import { expect, test } from "vitest";
import { EXPERIMENTS } from "../chaos/experiments.ts";
import { mergeResults } from "../chaos/merge-results.ts";
import { thisMachine, type SavedResult } from "../chaos/results.ts";
import type { Outcome } from "../chaos/trial.ts";

function outcome(id: string, changes: Partial<Outcome> = {}): Outcome {
  const experiment = EXPERIMENTS.find((one) => one.id === id);
  return {
    id,
    title: "",
    target: "",
    form: "full",
    rounds: experiment?.rounds.full ?? 0,
    seconds: 1,
    operations: { all: 1, succeeded: 1 },
    faults: {},
    figures: [],
    invariants: {},
    passed: true,
    complaints: [],
    ...changes,
  };
}

function result(minute: number, outcomes: readonly Outcome[], changes: Partial<SavedResult> = {}): SavedResult {
  const at = `2026-11-22T12:0${minute}:00.000Z`;
  return { at, seed: 1, machine: thisMachine(), passed: true, outcomes, ...changes };
}

const everything = EXPERIMENTS.map(({ id }) => outcome(id));

test("takes the last outcome of each experiment, whether it passed or not, by number", () => {
  const merged = mergeResults([
    result(3, [outcome("4", { passed: false })]),
    result(1, everything),
    result(2, [outcome("4"), outcome("1", { seconds: 7 })]),
  ]);
  expect(merged.isFull).toBe(true);
  expect(merged.outcomes.map(({ id }) => id)).toEqual(EXPERIMENTS.map(({ id }) => id));
  expect(merged.outcomes.find(({ id }) => id === "4")?.passed).toBe(false);
  expect(merged.outcomes.find(({ id }) => id === "1")?.seconds).toBe(7);
  expect(merged.parts?.map(({ at, experiments }) => [at.slice(14, 16), experiments.length])).toEqual([
    ["01", EXPERIMENTS.length - 2],
    ["02", 1],
    ["03", 1],
  ]);
});

test("knows the times of what was merged before", () => {
  const { seed, outcomes, parts = [] } = mergeResults([result(1, everything)]);
  const again = mergeResults([result(9, outcomes, { seed, parts }), result(2, [outcome("6", { seconds: 5 })])]);
  expect(again.outcomes.find(({ id }) => id === "6")?.seconds).toBe(5);
});

test("is not full while an experiment is missing", () => {
  expect(mergeResults([result(1, everything.slice(1))]).isFull).toBe(false);
});

test.each([
  ["another size", [result(1, [outcome("1", { rounds: 3 })])], "had 3 rounds"],
  ["the quick form", [result(1, [outcome("6", { form: "quick" })])], "in the quick form"],
  ["another seed", [result(1, []), result(2, [], { seed: 2 })], "Seeds 1 and 2"],
  ["another machine", [result(1, [], { machine: { ...thisMachine(), cores: 1_000 } })], "another machine"],
  ["nothing", [], "nothing to merge"],
])("refuses %s", (_, results, why) => {
  expect(() => mergeResults(results)).toThrow(why);
});
