/**
 * 7: a client's connection is reset, swallowed, or left half-open in the middle of an answer, until the answer is
 * complete elsewhere. When the network is back the client is woken, as a browser does, and must show the fold of the
 * log soon after it is connected again. Each client has a proxy of its own. Where the answer was over too early (bytes
 * that were under way had its end), nothing was broken and nothing is measured: that is checked like the others and
 * done again, a few times.
 */
import type { FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { numberedText } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { atOnce } from "../at-once.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { startProxyElsewhere } from "../proxy-elsewhere.ts";
import { assistantMessages, type Talk } from "../talk.ts";
import type { World } from "../world.ts";

const RESET = "reset";
const BLACKHOLE = "blackhole";
const HALF_OPEN = "half-open";
const CAUGHT_UP = "log's end after reconnecting";
const AFTER_NETWORK = "log's end after the network is back";
const TOKENS = 30;
const GAP_MS = 40;
const AT_ONCE = 12;
/** How often a fault may miss. */
const TRIES = 4;

export const cutSocket: Experiment = {
  id: "7",
  title: "WebSocket reset, swallowed, half-open",
  target: "state equals the fold within 3 s of reconnecting",
  rounds: { quick: 1, full: 334 },
  faults: [RESET, BLACKHOLE, HALF_OPEN],
  disturbs: "nobody",
  figures: [
    { name: CAUGHT_UP, unit: "ms", limit: { quantile: 1, atMost: 3_000 } },
    { name: AFTER_NETWORK, unit: "ms" },
  ],
  async run(world, trial) {
    const cuts = Array.from({ length: trial.rounds }, () => [RESET, BLACKHOLE, HALF_OPEN]).flat();
    const used = new Set<number>();
    await atOnce(AT_ONCE, cuts, async (fault) => {
      for (let tries = 0; tries < TRIES; tries++) {
        // What failed has been counted; only what missed is done again.
        if ((await cut(world, trial, fault, used)) !== false) return;
      }
    });
  },
};

/** Answers whether the fault hit; null when there was no answer in the end. */
async function cut(world: World, trial: Trial, fault: string, used: Set<number>): Promise<boolean | null> {
  const server = trial.random.pick(world.servers);
  // While it refuses connections its port is free for others.
  const proxy = await startProxyElsewhere(server.port, used);
  try {
    const clientUrl = `http://127.0.0.1:${proxy.port}`;
    const talk = await trial.talk({ url: server.url, clientUrl, hasFreshConnections: true });
    const words = trial.random.between(1, TOKENS / 2);
    const isHit = await trial.operation(`an answer (${fault})`, () =>
      answer(world, trial, { fault, proxy, talk, words }),
    );
    await trial.check([talk]);
    return isHit;
  } finally {
    await proxy.stop();
  }
}

async function answer(
  world: World,
  trial: Trial,
  { fault, proxy, talk, words }: { fault: string; proxy: FaultProxy; talk: Talk; words: number },
): Promise<boolean> {
  const { run } = await talk.ask(say("Go on", { gapMs: GAP_MS, steps: [{ kind: "tokens", count: TOKENS }] }));
  await talk.when("some words", (state) =>
    assistantMessages(state, run.id).some(({ text }) => text.split(" ").length > words),
  );
  const open = proxy.connections();
  const isMidway = talk.status(run.id) === "running";
  if (fault === RESET) {
    await proxy.setMode({ kind: "refuse" });
    proxy.cut();
  } else await proxy.setMode(fault === BLACKHOLE ? { kind: "blackhole" } : { kind: "half-open" });
  await waitFor(
    async () => {
      const { rows } = await world.db.query("select 1 from runs where id = $1 and status = 'completed'", [
        run.id.slice(4),
      ]);
      return rows.length === 1;
    },
    { describe: "the run to end without the client", timeoutMs: 30_000, intervalMs: 50 },
  );
  const isHit = open > 0 && isMidway && talk.status(run.id) === "running";
  if (isHit) trial.fired(fault);
  await proxy.setMode({ kind: "pass" });
  const backAt = performance.now();
  talk.client.wake();
  let liveAt: number | null = null;
  const stop = talk.client.subscribe(() => {
    if (liveAt === null && talk.client.getState().connection.status === "live") liveAt = performance.now();
  });
  await talk.completed(run.id);
  stop();
  const now = performance.now();
  if (isHit) {
    trial.measure(AFTER_NETWORK, now - backAt);
    // Whoever has it before the socket is back has it at once.
    trial.measure(CAUGHT_UP, liveAt === null ? 0 : now - liveAt);
  }
  const texts = JSON.stringify(talk.texts(run.id));
  trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `${run.id} reads ${texts}`);
  return isHit;
}
