/**
 * 1: `kill -9` of a worker that is in the middle of writing answers. Several runs are in flight; workers that hold some
 * of them are killed at random moments, while the model streams or shortly stands still. Every run must be completed by
 * another worker, its text there once, and the first token after the kill be seen soon.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { holdersOf } from "../holders.ts";
import { requestsOf } from "../model-requests.ts";
import { assistantMessages, type Talk } from "../talk.ts";
import { WORKERS, type World, type WorldWorker } from "../world.ts";

const KILL = "worker killed mid-token";
const NEXT_TOKEN = "next token after the kill";
const TALKS = 9;
/** One stays, as in any cluster that survives. */
const KILLS_AT_ONCE = WORKERS - 1;
/** What a killed worker's model call was to say: longer than any moment of the kill. */
const TOKENS = 40;
const GAP_MS = 25;
const LAST_MOMENT_MS = 700;

export const killedMidToken: Experiment = {
  id: "1",
  title: "worker killed mid-token",
  target: "next token p99 ≤ 5 s after the kill",
  rounds: { quick: 6, full: 500 },
  faults: [KILL],
  disturbs: "everybody",
  figures: [{ name: NEXT_TOKEN, unit: "ms", limit: { quantile: 0.99, atMost: 5_000 } }],
  async run(world, trial) {
    for (let kills = 0, tries = 0; kills < trial.rounds && tries < 2 * trial.rounds; tries++) {
      await world.ensureWorkers();
      kills += await round(world, trial, Math.min(KILLS_AT_ONCE, trial.rounds - kills));
    }
  },
};

interface Answering {
  talk: Talk;
  runId: string;
  request: RecordedRequest;
}

/** Answers how many workers it killed mid-token. */
async function round(world: World, trial: Trial, kills: number): Promise<number> {
  const talks = await Promise.all(Array.from({ length: TALKS }, () => trial.talk()));
  const answering = await Promise.all(talks.map((talk) => begin(world, talk)));
  const held = await holdersOf(world, answering);
  const victims = trial.random
    .shuffled([...held.keys()])
    .slice(0, kills)
    .map((worker) => ({ worker, momentMs: trial.random.between(0, LAST_MOMENT_MS) }));
  const hits = await Promise.all(victims.map((victim) => kill(world, trial, held.get(victim.worker) ?? [], victim)));
  // Those that nobody was killed over come to their end.
  for (const { request } of answering) request.release();
  await Promise.all([world.ensureWorkers(), ...hits.map(({ seen }) => seen)]);
  await Promise.all(
    answering.map(({ talk, runId }) =>
      trial.operation("an answer", async () => {
        await talk.completed(runId);
        const texts = talk.texts(runId);
        trial.must(texts.length === 1 && texts[0] === numberedText(TOKENS), `${runId} reads ${JSON.stringify(texts)}`);
      }),
    ),
  );
  await trial.check(talks);
  return hits.filter(({ isHit }) => isHit).length;
}

/** Resolves when a part of the answer is on the visitor's screen and the rest is not. */
async function begin(world: World, talk: Talk): Promise<Answering> {
  const text = `Tell me a long story, ${talk.conversationId}`;
  const part = { kind: "tokens" as const, count: TOKENS };
  // The first attempt stands still before its end, so that no kill comes too late; the second one is not held up.
  const { run } = await talk.ask(say(text, [{ gapMs: GAP_MS, steps: [part, { kind: "hold" }] }, { steps: [part] }]));
  await talk.when("part of the answer", (state) => assistantMessages(state, run.id).some(({ text }) => text !== ""));
  const request = requestsOf(world, text).at(-1);
  if (!request) throw new Error("the model does not remember the request");
  return { talk, runId: run.id, request };
}

/** It hit when the worker held runs whose model calls were open, and the kill cut them. */
async function kill(
  world: World,
  trial: Trial,
  held: readonly Answering[],
  { worker, momentMs }: { worker: WorldWorker; momentMs: number },
): Promise<{ isHit: boolean; seen: Promise<unknown> }> {
  await delay(momentMs);
  const now = (await holdersOf(world, held)).get(worker) ?? [];
  const hit = now.filter(({ request }) => request.end === null && request.tokensSent > 0);
  worker.process.signal("SIGKILL");
  const killedAt = performance.now();
  await Promise.all([worker.process.exited, ...hit.map(({ request }) => request.ended)]);
  const isHit = hit.length > 0 && hit.every(({ request }) => request.end === "client_gone");
  if (isHit) trial.fired(KILL);
  const seen = hit.map(async ({ talk, runId }) => {
    const shown = new Set(assistantMessages(talk.state(), runId).map(({ id }) => id));
    await talk.when("the next token", (state) =>
      assistantMessages(state, runId).some(({ id, text }) => text !== "" && !shown.has(id)),
    );
    trial.measure(NEXT_TOKEN, performance.now() - killedAt);
  });
  // A token that never comes is the answer's failure, which is counted there.
  return { isHit, seen: Promise.allSettled(seen) };
}
