import { isDeepStrictEqual } from "node:util";
import { EXPERIMENTS } from "./experiments.ts";
import { thisMachine, type ChaosResult, type Part, type SavedResult } from "./results.ts";
import type { Outcome } from "./trial.ts";

interface Origin {
  at: string;
  outcome: Outcome;
}

/**
 * One result of several full runs that had a part of the experiments each: of every experiment the last outcome, whether
 * it passed or not. It is full when none is missing. Throws when the results do not belong together: another seed,
 * another machine than this one, or an experiment at another size than the full one.
 */
export function mergeResults(results: readonly SavedResult[]): ChaosResult {
  const [first] = results;
  if (!first) throw new Error("There is nothing to merge.");
  const machine = thisMachine();
  for (const result of results) {
    if (result.seed !== first.seed) throw new Error(`Seeds ${first.seed} and ${result.seed} are of different runs.`);
    if (!isDeepStrictEqual(result.machine, machine)) throw new Error(`${result.at} was measured on another machine.`);
  }
  const origins = results.flatMap(originsOf).toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const last = new Map(origins.map((origin) => [origin.outcome.id, origin]));
  const chosen = EXPERIMENTS.flatMap(({ id, rounds }): Origin[] => {
    const origin = last.get(id);
    if (!origin) return [];
    const { form, rounds: ran } = origin.outcome;
    if (form === "full" && ran === rounds.full) return [origin];
    throw new Error(
      `Experiment ${id} of ${origin.at} had ${ran} rounds in the ${form} form, not ${rounds.full} in the full one.`,
    );
  });
  const parts = Map.groupBy(chosen, ({ at }) => at);
  return {
    seed: first.seed,
    isFull: chosen.length === EXPERIMENTS.length,
    outcomes: chosen.map(({ outcome }) => outcome),
    parts: [...parts]
      .map(([at, own]): Part => ({ at, experiments: own.map(({ outcome }) => outcome.id) }))
      .toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at)),
  };
}

/** What was put together before keeps the times of its parts. */
function originsOf({ at, outcomes, parts }: SavedResult): Origin[] {
  return outcomes.map((outcome) => ({
    at: parts?.find(({ experiments }) => experiments.includes(outcome.id))?.at ?? at,
    outcome,
  }));
}
