/** The full form of `npm run chaos`: the sizes and figures of the table in docs/chaos.md, with another seed every time. */
import { randomInt } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { EXPERIMENTS } from "../chaos/experiments.ts";
import { runExperiments } from "../chaos/run-experiments.ts";
import { saveResult } from "../chaos/results.ts";
import { chaosTable } from "../chaos/table.ts";
import type { Outcome } from "../chaos/trial.ts";

const LIMIT_MS = 6 * 3_600_000;

let outcomes: Outcome[] = [];

beforeAll(async () => {
  const seed = randomInt(1, 2 ** 31);
  console.log(`seed ${seed}`);
  outcomes = await runExperiments({ experiments: EXPERIMENTS, form: "full", seed, say: console.log });
  console.log(`${chaosTable(outcomes)}\n\n${saveResult({ seed, isFull: false, outcomes })}, seed ${seed}`);
}, LIMIT_MS);

test.each(EXPERIMENTS.map(({ id, title }) => ({ id, title })))("$id: $title: everything holds", ({ id }) => {
  const outcome = outcomes.find((one) => one.id === id);
  expect(outcome?.complaints).toEqual([]);
  expect(outcome?.passed).toBe(true);
});
