/**
 * `npm run chaos`: breaks the product on purpose and checks what must hold all the same. See docs/chaos.md.
 *
 *   npm run chaos -- [--experiment 1,4,9] [--rounds N | --full] [--seed S]
 */
import { randomInt } from "node:crypto";
import { parseArgs } from "node:util";
import { relative } from "node:path";
import { REPOSITORY } from "@agent-engine/testing/processes.ts";
import { EXPERIMENTS } from "./experiments.ts";
import type { Experiment } from "./experiment.ts";
import { saveResult } from "./results.ts";
import { runExperiments } from "./run-experiments.ts";
import { chaosTable } from "./table.ts";

const USAGE = `npm run chaos -- [--experiment 1,4,9] [--rounds N | --full] [--seed S]
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
  const { values } = parseArgs({
    options: {
      experiment: { type: "string" },
      rounds: { type: "string" },
      full: { type: "boolean", default: false },
      seed: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return;
  }
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
  const file = saveResult({ seed, isFull: values.full && values.experiment === undefined, outcomes });
  console.log(`\n${chaosTable(outcomes)}\n\n${relative(REPOSITORY, file)}, seed ${seed}`);
  if (!outcomes.every(({ passed }) => passed)) process.exitCode = 1;
}

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
// Left to end by itself, Node 24 may spin for ever while it frees sockets that were reset.
process.exit();
