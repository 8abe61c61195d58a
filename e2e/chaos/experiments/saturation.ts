/**
 * 13: ten times as many runs as places (one worker with `WORKER_CONCURRENCY=2`). Whoever waits is told, soon, and how
 * long it may take is about right.
 */
import { say } from "@agent-engine/testing/model-directive.ts";
import type { Experiment, Trial } from "../experiment.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

const SATURATED = "10 × as many runs as places";
const TOLD = "told of the queue after";
const ESTIMATE = "first estimates within ± 50 %";
const PLACES = 2;
const RUNS = 10 * PLACES;
const GAP_MS = 25;
const TOKENS = { quick: 16, full: 60 };
/** A run that waits for less is told nothing. */
const WAITED_MS = 500;
const MARGIN = 0.5;

export const saturation: Experiment = {
  id: "13",
  title: "saturation at 10×",
  target: "queueing event ≤ 1 s; delay estimate ± 50 % for 80 %",
  rounds: { quick: 1, full: 10 },
  faults: [SATURATED],
  disturbs: "everybody",
  figures: [
    { name: TOLD, unit: "ms", limit: { quantile: 0.99, atMost: 1_000 } },
    { name: ESTIMATE, unit: "%", limit: { quantile: 0.5, atLeast: 80 } },
  ],
  async run(world, trial) {
    await Promise.all([...world.workers].map((worker) => world.remove(worker)));
    await world.addWorker({ WORKER_CONCURRENCY: String(PLACES) });
    try {
      for (let round = 0; round < trial.rounds; round++) await saturate(world, trial);
    } finally {
      await Promise.all([...world.workers].map((worker) => world.remove(worker)));
      await world.ensureWorkers();
    }
  },
};

interface Waited {
  toldMs: number | null;
  expectedMs: number;
  /** From the first telling to the start. */
  tookMs: number;
}

async function saturate(world: World, trial: Trial): Promise<void> {
  const talks = await Promise.all(Array.from({ length: RUNS }, () => trial.talk()));
  const waited = await Promise.all(
    talks.map((talk) => trial.operation("an answer", () => ask(talk, TOKENS[trial.form]))),
  );
  const all = waited.filter((one) => one !== null);
  const long = all.filter(({ toldMs, tookMs }) => toldMs !== null || tookMs > 2 * WAITED_MS);
  const told = long.filter(({ toldMs }) => toldMs !== null);
  trial.must(told.length === long.length, `${long.length - told.length} of ${long.length} waited and were not told`);
  if (told.length >= RUNS / 2) trial.fired(SATURATED);
  for (const { toldMs } of told) trial.measure(TOLD, toldMs ?? Number.NaN);
  const right = told.filter(({ expectedMs, tookMs }) => Math.abs(expectedMs - tookMs) <= MARGIN * tookMs);
  trial.measure(ESTIMATE, (100 * right.length) / Math.max(1, told.length));
  await trial.check(talks);
}

async function ask(talk: Talk, tokens: number): Promise<Waited> {
  const submission = await talk.ask(say("Wait", { gapMs: GAP_MS, steps: [{ kind: "tokens", count: tokens }] }));
  const runId = submission.run.id;
  const askedAt = performance.now();
  const state = await talk.when("the queue or the start", ({ runs }) => {
    const run = runs[runId];
    return run !== undefined && (run.status !== "queued" || run.queue !== null);
  });
  const toldAt = performance.now();
  const run = state.runs[runId];
  const queue = run?.status === "queued" ? run.queue : null;
  if (queue) await talk.when("the start", ({ runs }) => runs[runId]?.status !== "queued");
  const startedAt = performance.now();
  await talk.completed(runId);
  return {
    toldMs: queue ? toldAt - askedAt : null,
    expectedMs: queue?.expectedDelayMs ?? 0,
    tookMs: startedAt - (queue ? toldAt : askedAt),
  };
}
