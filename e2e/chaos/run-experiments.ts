/**
 * Runs experiments in one world, then checks all: one by one in sizes that take a machine's whole strength; in the quick
 * form those that disturb nobody at the same time.
 */
import { inspect } from "node:util";
import { violations } from "@agent-engine/testing/invariants.ts";
import { atOnce } from "./at-once.ts";
import type { Experiment, Form } from "./experiment.ts";
import { seededRandom } from "./random.ts";
import { saveLogs } from "./results.ts";
import { openTrial, type Outcome } from "./trial.ts";
import { startWorld, type World } from "./world.ts";

export interface ChaosOptions {
  experiments: readonly Experiment[];
  form: Form;
  seed: number;
  /** Instead of the form's. */
  rounds?: number;
  say: (line: string) => void;
}

/** Outcomes by number. Rejects only when the world cannot be started or is beyond repair. */
export async function runExperiments(options: ChaosOptions): Promise<Outcome[]> {
  const { experiments, say } = options;
  say("starting Postgres, Redis, servers and workers …");
  const world = await startWorld();
  try {
    say(`ready: ${world.servers.length} servers, ${world.workers.length} workers`);
    const gentle = experiments.filter(({ disturbs }) => disturbs === "nobody");
    const rough = experiments
      .filter(({ disturbs }) => disturbs === "everybody")
      .toSorted((a, b) => Number(a.bringsWorkers ?? false) - Number(b.bringsWorkers ?? false));
    const isSmall = options.form === "quick" && options.rounds === undefined;
    const outcomes = await atOnce(isSmall ? gentle.length : 1, gentle, (experiment) =>
      attempt(world, experiment, options),
    );
    for (const experiment of rough) {
      if (!experiment.bringsWorkers) await world.ensureWorkers();
      outcomes.push(await attempt(world, experiment, options));
    }
    await checkEverything(world, outcomes, say);
    if (!outcomes.every(({ passed }) => passed)) say(`what the processes printed: ${saveLogs(world.logs())}`);
    return outcomes.sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
  } finally {
    await world.stop();
  }
}

async function attempt(world: World, experiment: Experiment, options: ChaosOptions): Promise<Outcome> {
  const { form, seed, say } = options;
  const { trial, finish } = openTrial({
    experiment,
    world,
    form,
    rounds: options.rounds ?? experiment.rounds[form],
    random: seededRandom(seed, `experiment ${experiment.id}`),
    say,
  });
  say(`${experiment.id} ${experiment.title}: ${trial.rounds} rounds`);
  try {
    await experiment.run(world, trial);
  } catch (error) {
    // An error's own stack leaves out what caused it.
    trial.must(false, `it broke off: ${inspect(error)}`);
  }
  const outcome = await finish();
  say(`${experiment.id} ${outcome.passed ? "passed" : "FAILED"} in ${outcome.seconds} s`);
  return outcome;
}

/** Once more over the whole database and the whole ledger: what no experiment had in view. */
async function checkEverything(world: World, outcomes: readonly Outcome[], say: (line: string) => void): Promise<void> {
  const known = outcomes.some(({ invariants }) => Object.values(invariants).some((count) => count > 0));
  const found = await violations(world.db);
  if (found.length === 0 || known) return;
  const last = outcomes.at(-1);
  for (const { invariant, subject, detail } of found) {
    say(`  ✗ ${invariant}: ${subject}: ${detail}`);
    if (!last) continue;
    last.passed = false;
    last.invariants[invariant] = (last.invariants[invariant] ?? 0) + 1;
    last.complaints.push(`over everything, ${invariant}: ${subject}: ${detail}`);
  }
}
