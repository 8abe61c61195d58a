/**
 * 14b: a worker is killed between commit and publish: from a moment on what it tells Redis is swallowed, and it dies when
 * there are commits that no reader has. Readers have them soon, and the answers are completed elsewhere, once.
 */
import type { RecordedRequest } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { requestsOf } from "../model-requests.ts";
import { holdersOf } from "../holders.ts";
import { assistantMessages, type Talk } from "../talk.ts";
import type { World } from "../world.ts";

const KILLED = "worker killed between commit and publish";
const CAUGHT_UP = "commit at a reader after the kill";
const TALKS = 8;
const TOKENS = 80;
const UNPUBLISHED = 2;

export const publisherKilled: Experiment = {
  id: "14b",
  title: "worker killed between commit and publish",
  target: "0 lost, 0 double; readers catch up within 5 s",
  rounds: { quick: 2, full: 300 },
  faults: [KILLED],
  disturbs: "everybody",
  figures: [{ name: CAUGHT_UP, unit: "ms", limit: { quantile: 1, atMost: 5_000 } }],
  async run(world, trial) {
    for (let fired = 0, tries = 0; fired < trial.rounds && tries < 2 * trial.rounds; tries++) {
      await world.ensureWorkers();
      fired += await round(world, trial);
    }
  },
};

interface Answering {
  talk: Talk;
  runId: string;
  request: RecordedRequest | undefined;
}

/** Answers how many runs it hit. */
async function round(world: World, trial: Trial): Promise<number> {
  const answering = await Promise.all(
    Array.from({ length: TALKS }, async (): Promise<Answering> => {
      const talk = await trial.talk();
      const part = { kind: "tokens" as const, count: TOKENS };
      const text = `A long one, ${talk.conversationId}`;
      // The first attempt stands still before its end, so that no kill comes too late.
      const { run } = await talk.ask(say(text, [{ gapMs: 40, steps: [part, { kind: "hold" }] }, { steps: [part] }]));
      await talk.when("part of the answer", (state) =>
        assistantMessages(state, run.id).some(({ text }) => text !== ""),
      );
      return { talk, runId: run.id, request: requestsOf(world, text).at(-1) };
    }),
  );
  const holders = await holdersOf(world, answering);
  if (holders.size === 0) throw new Error("no worker holds any of the runs");
  const [victim, held] = trial.random.pick([...holders]);
  await victim.redisProxy.setMode({ kind: "blackhole" });
  const seen = new Map(held.map(({ talk }) => [talk.conversationId, talk.state().lastSeq]));
  let heads = await headsOf(world, held);
  await waitFor(
    async () => {
      heads = await headsOf(world, held);
      return held.some(({ talk }) => {
        const shown = Math.max(seen.get(talk.conversationId) ?? 0, talk.state().lastSeq);
        return (heads.get(talk.conversationId) ?? 0) >= shown + UNPUBLISHED;
      });
    },
    { describe: "commits that no reader has", timeoutMs: 20_000, intervalMs: 5 },
  );
  victim.process.signal("SIGKILL");
  const killedAt = performance.now();
  await victim.process.exited;
  heads = await headsOf(world, held);
  const hit = held.filter(({ talk }) => (heads.get(talk.conversationId) ?? 0) > talk.state().lastSeq);
  trial.fired(KILLED, hit.length);
  for (const { request } of answering) request?.release();
  await Promise.all([
    world.ensureWorkers(),
    ...hit.map(async ({ talk }) => {
      const head = heads.get(talk.conversationId) ?? 0;
      await talk.when("what was committed and not published", ({ lastSeq }) => lastSeq >= head);
      trial.measure(CAUGHT_UP, performance.now() - killedAt);
    }),
    ...answering.map(({ talk, runId }) =>
      trial.operation("an answer", async () => {
        await talk.completed(runId);
        const texts = JSON.stringify(talk.texts(runId));
        trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${runId} reads ${texts}`);
      }),
    ),
  ]);
  await trial.check(answering.map(({ talk }) => talk));
  return hit.length;
}

async function headsOf(world: World, held: readonly Answering[]): Promise<Map<string, number>> {
  const { rows } = await world.db.query<{ id: string; head: number }>(
    "select 'conv_' || replace(conversation_id::text, '-', '') as id, last_seq::int as head from conversation_heads where conversation_id = any ($1::uuid[])",
    [held.map(({ talk }) => talk.conversationId.slice(5))],
  );
  return new Map(rows.map(({ id, head }) => [id, head]));
}
