/**
 * 13: runs come ten times as fast as they can be served: one worker with `WORKER_CONCURRENCY=2`, and within the time of
 * one run twenty of them. Whoever waits is told, soon, and how long it may take is about right, for runs that last alike
 * and for runs of very different lengths.
 */
import { setTimeout as delay } from "node:timers/promises";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { Experiment, Trial } from "../experiment.ts";
import type { Random } from "../random.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

const SATURATED = "10 × as many runs as places";
const TOLD = "told of the queue after";
const ERROR = "error of the first estimate";
const PLACES = 2;
const RUNS = 10 * PLACES;
/** How long a run lasts on average. */
const MEAN_MS = { quick: 500, full: 2_000 };
const TOKENS = 10;
/** Whoever waited for so long and was told nothing was forgotten: half a second is the product's, the rest a slow machine's. */
const FORGOTTEN_MS = 5_000;

/** As multiples of the mean. */
type Lengths = (random: Random) => number;
/** Each for a third of the rounds. What the product knows of lengths is what it has measured, so the first rounds of each are its hardest. */
const LENGTHS: readonly Lengths[] = [
  () => 1,
  (random) => 0.5 + random.next(),
  // One in five lasts four times as long as the others.
  (random) => (random.next() < 0.2 ? 4 : 1) / 1.6,
];

export const saturation: Experiment = {
  id: "13",
  title: "saturation at 10×",
  target: "queueing event ≤ 1 s; delay estimate ± 50 % for 80 %",
  rounds: { quick: 1, full: 15 },
  faults: [SATURATED],
  disturbs: "everybody",
  bringsWorkers: true,
  figures: [
    { name: TOLD, unit: "ms", limit: { quantile: 0.99, atMost: 1_000 } },
    { name: ERROR, unit: "%", limit: { quantile: 0.8, atMost: 50 } },
  ],
  async run(world, trial) {
    await Promise.all([...world.workers].map((worker) => world.remove(worker)));
    await world.addWorker({ WORKER_CONCURRENCY: String(PLACES) });
    for (let round = 0; round < trial.rounds; round++) {
      const third = Math.floor((round * LENGTHS.length) / trial.rounds);
      await saturate(world, trial, LENGTHS[third] as Lengths);
    }
  },
};

interface Waited {
  /** From the submit to the word of the queue; null when there was none. */
  toldMs: number | null;
  /** What that said. */
  expectedMs: number;
  /** From that word, or else from the submit, to the start. */
  tookMs: number;
}

async function saturate(world: World, trial: Trial, lengthOf: Lengths): Promise<void> {
  const { random, form } = trial;
  const meanMs = MEAN_MS[form];
  const talks = await Promise.all(Array.from({ length: RUNS }, () => trial.talk()));
  const plans = talks.map((talk) => ({
    talk,
    lastsMs: meanMs * lengthOf(random),
    afterMs: random.next() * meanMs,
  }));
  const waited = await Promise.all(
    plans.map((plan) =>
      trial.operation("an answer", async () => {
        await delay(plan.afterMs);
        return ask(plan.talk, plan.lastsMs);
      }),
    ),
  );
  const all = waited.filter((one) => one !== null);
  const told = all.filter(({ toldMs }) => toldMs !== null);
  const forgotten = all.filter(({ toldMs, tookMs }) => toldMs === null && tookMs > FORGOTTEN_MS);
  trial.must(forgotten.length === 0, `${forgotten.length} runs waited for seconds and were told nothing`);
  if (told.length >= RUNS / 2) trial.fired(SATURATED);
  for (const { toldMs, expectedMs, tookMs } of told) {
    trial.measure(TOLD, toldMs ?? Number.NaN);
    trial.measure(ERROR, (100 * Math.abs(expectedMs - tookMs)) / tookMs);
  }
  await trial.check(talks);
}

async function ask(talk: Talk, lastsMs: number): Promise<Waited> {
  const askedAt = performance.now();
  const answer = { gapMs: Math.round(lastsMs / TOKENS), steps: [{ kind: "tokens" as const, count: TOKENS }] };
  const { run } = await talk.ask(say("Wait", answer));
  const state = await talk.when("the queue or the start", ({ runs }) => {
    const seen = runs[run.id];
    return seen !== undefined && (seen.status !== "queued" || seen.queue !== null);
  });
  const toldAt = performance.now();
  const seen = state.runs[run.id];
  const queue = seen?.status === "queued" ? seen.queue : null;
  if (queue) await talk.when("the start", ({ runs }) => runs[run.id]?.status !== "queued", 120_000);
  const startedAt = performance.now();
  await talk.completed(run.id);
  return {
    toldMs: queue ? toldAt - askedAt : null,
    expectedMs: queue?.expectedDelayMs ?? 0,
    tookMs: startedAt - (queue ? toldAt : askedAt),
  };
}
