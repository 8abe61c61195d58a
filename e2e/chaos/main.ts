/**
 * `npm run chaos`: breaks the product on purpose and checks what must hold all the same. See docs/chaos.md.
 *
 *   npm run chaos -- [--experiment 1,4,9] [--rounds N | --full] [--seed S]
 *   npm run chaos -- --merge a.json b.json …
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { relative } from "node:path";
import { REPOSITORY } from "@agent-engine/testing/processes.ts";
import { EXPERIMENTS } from "./experiments.ts";
import type { Experiment } from "./experiment.ts";
import { mergeResults } from "./merge-results.ts";
import { saveResult, type ChaosResult, type SavedResult } from "./results.ts";
import { runExperiments } from "./run-experiments.ts";
import { chaosTable } from "./table.ts";

const USAGE = `npm run chaos -- [--experiment 1,4,9] [--rounds N | --full] [--seed S]
npm run chaos -- --merge RESULT.json …    (of full runs with one seed on this machine: the last outcome of each experiment)
${EXPERIMENTS.map(({ id, title, rounds }) => `  ${id.padStart(3)}  ${title} (${rounds.quick} rounds, ${rounds.full} with --full)`).join("\n")}`;

function wholeNumber(name: string, text: string, least: number): number {
  if (/^\d{1,10}$/.test(text) && Number(text) >= least) return Number(text);
  throw new Error(`--${name} must be a whole number of at least ${least}, not "${text}".\n${USAGE}`);
}

const numberOf = ({ id }: Experiment): number => Number.parseInt(id, 10);

function chosen(list: string | undefined): readonly Experiment[] {
  if (list === undefined) return EXPERIMENTS;
  const numbers = list.split(",").map((part) => wholeNumber("experiment", part.trim(), 1));
  const unknown = numbers.filter((number) => !EXPERIMENTS.some((experiment) => numberOf(experiment) === number));
  if (unknown.length > 0) throw new Error(`There is no experiment ${unknown.join(", ")}.\n${USAGE}`);
  return EXPERIMENTS.filter((experiment) => numbers.includes(numberOf(experiment)));
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      experiment: { type: "string" },
      rounds: { type: "string" },
      full: { type: "boolean", default: false },
      seed: { type: "string" },
      merge: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
  if (values.merge) {
    report(mergeResults(positionals.map((file) => JSON.parse(readFileSync(file, "utf8")) as SavedResult)));
    return;
  }
  if (positionals.length > 0) throw new Error(`"${positionals[0]}" is not understood.\n${USAGE}`);
  if (values.full && values.rounds !== undefined) throw new Error(`Give --rounds or --full, not both.\n${USAGE}`);
  const experiments = chosen(values.experiment);
  const seed = values.seed === undefined ? randomInt(1, 2 ** 31) : wholeNumber("seed", values.seed, 0);
  const rounds = values.rounds === undefined ? {} : { rounds: wholeNumber("rounds", values.rounds, 1) };
  console.log(`seed ${seed}: repeat with --seed ${seed}`);

  const startedAt = performance.now();
  const outcomes = await runExperiments({
    experiments,
    form: values.full ? "full" : "quick",
    seed,
    ...rounds,
    say: (line) => console.log(`${((performance.now() - startedAt) / 1_000).toFixed(1).padStart(7)} s  ${line}`),
  });
  report({ seed, isFull: values.full && values.experiment === undefined, outcomes });
}

function report(result: ChaosResult): void {
  const { seed, outcomes } = result;
  const file = saveResult(result);
  console.log(`\n${chaosTable(outcomes)}\n\n${relative(REPOSITORY, file)}, seed ${seed}`);
  const missing = EXPERIMENTS.filter(({ id }) => !outcomes.some((outcome) => outcome.id === id));
  if (result.parts && missing.length > 0) console.log(`missing: ${missing.map(({ id }) => id).join(", ")}`);
  if (!outcomes.every(({ passed }) => passed)) process.exitCode = 1;
}

// A second signal, which whoever started this may pass on too, must not end it in the middle of ending the processes.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
// Left to end by itself, Node 24 may spin for ever while it frees sockets that were reset.
process.exit();
