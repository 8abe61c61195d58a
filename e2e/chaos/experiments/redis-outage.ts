/**
 * 5: Redis dies and comes back empty, is flushed, or stands still, while visitors write and agents answer. Submitting
 * goes on, and every run is completed.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

const RESTART = "restart";
const FLUSH = "FLUSHALL";
const FREEZE = "freeze";
const SUBMIT = "submit during the outage";
const TALKS = 6;
const TOKENS = 20;
const ANSWER = { gapMs: 30, steps: [{ kind: "tokens" as const, count: TOKENS }] };
const FREEZE_MS = { quick: 2_500, full: 30_000 };
const DOWN_MS = 1_500;

export const redisOutage: Experiment = {
  id: "5",
  title: "Redis restarted, flushed, frozen",
  target: "0 runs lost; 202 within 1.5 s",
  rounds: { quick: 1, full: 50 },
  faults: [RESTART, FLUSH, FREEZE],
  disturbs: "everybody",
  figures: [{ name: SUBMIT, unit: "ms", limit: { quantile: 1, atMost: 1_500 } }],
  async run(world, trial) {
    for (let round = 0; round < trial.rounds; round++) {
      for (const fault of trial.random.shuffled([RESTART, FLUSH, FREEZE])) await outage(world, trial, fault);
    }
  },
};

async function outage(world: World, trial: Trial, fault: string): Promise<void> {
  const talks = await Promise.all(Array.from({ length: TALKS }, () => trial.talk()));
  const lengthMs = fault === FREEZE ? FREEZE_MS[trial.form] : DOWN_MS;
  const early = await Promise.all(talks.map((talk) => talk.ask(say("Before it", ANSWER))));
  const causing = cause(world, trial, fault, lengthMs);
  const late = await Promise.all(
    talks.map(async (talk) => {
      await delay(trial.random.between(0, fault === FLUSH ? 50 : lengthMs - 500));
      const startedAt = performance.now();
      const submission = await trial.operation(`a message (${fault})`, () => talk.ask(say("During it", ANSWER)));
      trial.measure(SUBMIT, performance.now() - startedAt);
      return submission;
    }),
  );
  await causing;
  await Promise.all(
    talks.map((talk, index) => answered(trial, fault, talk, [early[index]?.run.id, late[index]?.run.id])),
  );
  await trial.check(talks);
}

async function answered(trial: Trial, fault: string, talk: Talk, runs: (string | undefined)[]): Promise<void> {
  for (const runId of runs) {
    if (runId === undefined) continue;
    await trial.operation(`an answer (${fault})`, async () => {
      await talk.completed(runId, 90_000);
      const texts = JSON.stringify(talk.texts(runId));
      trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${runId} reads ${texts}`);
    });
  }
}

async function cause(world: World, trial: Trial, fault: string, lengthMs: number): Promise<void> {
  if (fault === FLUSH) {
    const client = connect(world);
    // At a moment when it holds something.
    await waitFor(async () => Number((await client.multi().dbsize().flushall().exec())?.[0]?.[1]) > 0, {
      describe: "something to flush",
      intervalMs: 1,
    });
    trial.fired(FLUSH);
    client.disconnect();
    return;
  }
  const { redis } = world;
  if (fault === FREEZE) redis.freeze();
  else await redis.kill();
  try {
    await delay(lengthMs / 2);
    if (!(await answers(world))) trial.fired(fault);
    await delay(lengthMs / 2);
  } finally {
    if (fault === FREEZE) redis.thaw();
    else await redis.restart();
  }
}

function connect(world: World): Redis {
  const client = new Redis(world.redis.url, { maxRetriesPerRequest: 1, commandTimeout: 400, connectTimeout: 400 });
  client.on("error", () => {});
  return client;
}

async function answers(world: World): Promise<boolean> {
  const client = connect(world);
  try {
    await client.ping();
    return true;
  } catch {
    return false;
  } finally {
    client.disconnect();
  }
}
