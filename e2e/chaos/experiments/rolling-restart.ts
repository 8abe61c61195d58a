/**
 * 15: every process is restarted in its turn (SIGTERM, then the same again at the same address), as a deployment does,
 * while visitors go on writing with the widget's client. No run fails, and every client comes back.
 */
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Trial } from "../experiment.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

const ROLL = "every process restarted";
const STOPPING = "time to stop";
const TALKS = 6;
const TOKENS = 20;
const ANSWER = { gapMs: 40, steps: [{ kind: "tokens" as const, count: TOKENS }] };
/** Half of the workers at a time, and one server. */
const HALVES = 2;

export const rollingRestart: Experiment = {
  id: "15",
  title: "rolling restart of every process under load",
  target: "0 failed runs; sockets resume; each stops within 10 s",
  rounds: { quick: 1, full: 20 },
  faults: [ROLL],
  disturbs: "everybody",
  figures: [{ name: STOPPING, unit: "ms", limit: { quantile: 1, atMost: 10_000 } }],
  async run(world, trial) {
    const talks = await Promise.all(
      Array.from({ length: TALKS }, (_, index) =>
        trial.talk({ url: world.servers[index % world.servers.length]?.url }),
      ),
    );
    let isOver = false;
    const writing = talks.map((talk) => write(trial, talk, () => isOver));
    for (let round = 0; round < trial.rounds; round++) await roll(world, trial);
    isOver = true;
    const sent = await Promise.all(writing);
    await Promise.all(
      talks.map((talk, index) =>
        trial.operation("a client that came back", () => expectWhole(trial, talk, sent[index] ?? [])),
      ),
    );
    await trial.check(talks);
  },
};

/** One question after the other, each when the last one is answered. Answers their texts. */
async function write(trial: Trial, talk: Talk, isOver: () => boolean): Promise<string[]> {
  const sent: string[] = [];
  while (!isOver()) {
    const text = say(`Question ${sent.length + 1}`, ANSWER);
    sent.push(text);
    const done = await trial.operation("an answer", async () => {
      talk.client.send(text);
      const state = await talk.when("the message and its answer", ({ messages, runs }) => {
        const own = messages.filter(({ role }) => role === "user").at(sent.length - 1);
        return own?.runId != null && runs[own.runId]?.status === "completed";
      });
      const own = state.messages.filter(({ role }) => role === "user").at(-1);
      const texts = JSON.stringify(talk.texts(own?.runId ?? ""));
      trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${own?.runId} reads ${texts}`);
      return true;
    });
    if (!done) return sent;
  }
  return sent;
}

async function roll(world: World, trial: Trial): Promise<void> {
  const codes: (number | null)[] = [];
  const restart = async (one: Parameters<World["roll"]>[0]) => {
    const startedAt = performance.now();
    void one.process.exited.then(() => trial.measure(STOPPING, performance.now() - startedAt));
    codes.push(await world.roll(one));
  };
  const servers = trial.random.shuffled(world.servers);
  const workers = trial.random.shuffled(world.workers);
  const half = Math.ceil(workers.length / HALVES);
  for (let turn = 0; turn < Math.max(HALVES, servers.length); turn++) {
    const server = servers[turn];
    await Promise.all([
      ...workers.slice(turn * half, (turn + 1) * half).map(restart),
      ...(server ? [restart(server)] : []),
    ]);
  }
  trial.must(
    codes.every((code) => code === 0),
    `processes that were told to stop ended with ${codes.join(", ")}`,
  );
  if (codes.length === servers.length + workers.length) trial.fired(ROLL);
}

/** Everything that was written is there once, in order, and the socket is open again. */
async function expectWhole(trial: Trial, talk: Talk, sent: readonly string[]): Promise<void> {
  await waitFor(() => talk.client.getState().connection.status === "live", {
    describe: () => `a live socket, it is ${JSON.stringify(talk.client.getState().connection)}`,
    timeoutMs: 30_000,
  });
  const texts = talk.state().messages.flatMap(({ role, text }) => (role === "user" ? [text] : []));
  trial.must(
    JSON.stringify(texts) === JSON.stringify(sent) && talk.client.getState().outbox.length === 0,
    `of ${sent.length} messages ${texts.length} are there`,
  );
}
