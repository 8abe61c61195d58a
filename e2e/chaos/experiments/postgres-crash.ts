/**
 * 6: Postgres crashes and restarts while visitors write and agents answer; and crashes a second time in the middle of its
 * recovery. What was acknowledged is there, and no run is left behind.
 */
import { setTimeout as delay } from "node:timers/promises";
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Trial } from "../experiment.ts";
import type { World } from "../world.ts";

const CRASH = "crash";
const TWICE = "second crash during recovery";
const ANSWERED = "answer after Postgres is back";
const TALKS = 6;
const TOKENS = 20;
const ANSWER = { gapMs: 30, steps: [{ kind: "tokens" as const, count: TOKENS }] };
const TRIES = 3;
/** Rows written before a crash, so that recovering takes long enough to be hit. */
const BALLAST = 100_000;

export const postgresCrash: Experiment = {
  id: "6",
  title: "Postgres crashes, also during recovery",
  target: "nothing acknowledged lost, 0 stranded",
  rounds: { quick: 1, full: 50 },
  faults: [CRASH, TWICE],
  disturbs: "everybody",
  figures: [{ name: ANSWERED, unit: "ms" }],
  async run(world, trial) {
    for (let round = 0; round < trial.rounds; round++) {
      // The second kind begins with a crash too, which is enough where time is short.
      if (trial.form === "full") await outage(world, trial, CRASH);
      await outage(world, trial, TWICE);
    }
  },
};

async function outage(world: World, trial: Trial, fault: string): Promise<void> {
  const talks = await Promise.all(Array.from({ length: TALKS }, () => trial.talk()));
  await Promise.all(talks.map((talk) => talk.ask(say("Before it", ANSWER))));
  const causing = cause(world, trial, fault);
  await Promise.all(
    talks.map(async (talk) => {
      await delay(trial.random.between(0, 400));
      await trial.operation(`a message (${fault})`, () => talk.askUntilTaken(say("During it", ANSWER)));
    }),
  );
  await causing;
  const backAt = performance.now();
  await Promise.all(
    talks.map(async (talk) => {
      for (const { runId } of talk.acknowledged) {
        await trial.operation(`an answer (${fault})`, async () => {
          await talk.completed(runId);
          trial.measure(ANSWERED, performance.now() - backAt);
          const texts = JSON.stringify(talk.texts(runId));
          trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${runId} reads ${texts}`);
        });
      }
    }),
  );
  await trial.check(talks);
}

async function cause(world: World, trial: Trial, fault: string): Promise<void> {
  const { postgres } = world;
  await delay(trial.random.between(0, 300));
  if (fault === CRASH) {
    await postgres.crash();
    trial.fired(CRASH);
  } else {
    for (let tries = 0; tries < TRIES; tries++) {
      await writeBallast(world);
      const isTwice = await postgres.crashTwice();
      if (trial.form === "quick") trial.fired(CRASH);
      if (!isTwice) continue;
      trial.fired(TWICE);
      break;
    }
  }
  await waitFor(() => world.db.query("select 1"), { describe: "Postgres to answer again", timeoutMs: 30_000 });
}

async function writeBallast(world: World): Promise<void> {
  await waitFor(
    async () => {
      await world.db.query("create table if not exists ballast (n int, text text)");
      await world.db.query("truncate ballast");
      return world.db.query("insert into ballast select n, repeat('x', 100) from generate_series(1, $1) n", [BALLAST]);
    },
    { describe: "something to recover", timeoutMs: 30_000 },
  );
}
