/**
 * 9: runs that kill whoever executes them, for real: one makes a worker compute for ever, one makes it run out of memory.
 * Each is buried after three deaths, with its reason; what runs beside them is completed. Workers that die are replaced,
 * as whatever supervises them does.
 */
import { numberedText, type ModelScript } from "@agent-engine/testing/model-script.ts";
import { lastUserTurn } from "@agent-engine/testing/chat-request.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { getRun } from "../../src/api-client.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { siteOf } from "../shop-agent.ts";
import type { Talk } from "../talk.ts";
import type { World, WorldWorker } from "../world.ts";

const ENDLESS = "endless loop";
const GREEDY = "out of memory";
const WORKERS = 3;
const NEIGHBOURS = 4;
const TOKENS = 40;
const HEAP_MB = 160;
const STUCK_SECONDS = "3";
const BURIED_MS = 120_000;

export const poison: Experiment = {
  id: "9",
  title: "poison run: endless loop, out of memory",
  target: "dead-lettered after ≤ 3 deaths, neighbours unaffected",
  rounds: { quick: 1, full: 10 },
  faults: [ENDLESS, GREEDY],
  // It takes three times as long until a worker that computes for ever is seen to. e2e/src/poison.test.ts has it.
  slowFaults: [ENDLESS],
  disturbs: "everybody",
  bringsWorkers: true,
  async run(world, trial) {
    const keys = await siteOf(world, { name: "Poisonous", knowledge: { enabled: false }, toolkits: [evilToolkit()] });
    world.model.setScript(({ messages }) => {
      const { text } = lastUserTurn(messages);
      return text === ENDLESS ? endless : text === GREEDY ? greedy : null;
    });
    await Promise.all([...world.workers].map((worker) => world.remove(worker)));
    const env = { WORKER_STUCK_SECONDS: STUCK_SECONDS, NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}` };
    await Promise.all(Array.from({ length: WORKERS }, () => world.addWorker(env)));
    try {
      for (let round = 0; round < trial.rounds; round++) {
        const stop = supervise(world, env);
        await poisonOnce(world, trial, keys).finally(stop);
      }
    } finally {
      world.model.setScript(null);
    }
  },
};

/** Takes a regular expression that backtracks longer than anybody lives. */
const endless: ModelScript = {
  steps: [{ kind: "toolCall", name: "shop_look", arguments: { value: `${"a".repeat(60)}!` } }],
};

function evilToolkit() {
  const parameters = { type: "object", properties: { value: { type: "string", pattern: "^(a+)+$" } } };
  const look = { name: "look", description: "Looks", method: "GET", path: "/look", parameters };
  return { toolkit: "http", settings: { name: "shop", baseUrl: "https://tools.example", operations: [look] } };
}

/** Arguments of a call whose name never comes: they can only be kept. */
const piece = JSON.stringify({
  choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: "x".repeat(1_000_000) } }] } }],
});
const greedy: ModelScript = {
  steps: Array.from({ length: 4 * HEAP_MB }, () => ({ kind: "raw" as const, text: `data: ${piece}\n\n` })),
};

/** Answers how to stop it. */
function supervise(world: World, env: Record<string, string>): () => Promise<void> {
  let isOver = false;
  const starting: Promise<void>[] = [];
  const watch = (worker: WorldWorker): void => {
    void worker.process.exited.then(() => {
      if (isOver) return;
      starting.push(
        world.remove(worker).then(async () => {
          watch(await world.addWorker(env));
        }),
      );
    });
  };
  for (const worker of world.workers) watch(worker);
  return async () => {
    isOver = true;
    await Promise.allSettled(starting);
  };
}

async function poisonOnce(world: World, trial: Trial, keys: Awaited<ReturnType<typeof siteOf>>): Promise<void> {
  const neighbours = await Promise.all(Array.from({ length: NEIGHBOURS }, () => trial.talk()));
  const evil = await Promise.all(
    (trial.form === "full" ? [ENDLESS, GREEDY] : [GREEDY]).map(async (kind) => ({
      kind,
      talk: await trial.talk({ keys }),
    })),
  );
  await Promise.all([
    ...neighbours.map((talk) =>
      trial.operation("a neighbour's answer", async () => {
        const { run } = await talk.ask(say("Hello", { gapMs: 100, steps: [{ kind: "tokens", count: TOKENS }] }));
        await talk.completed(run.id, BURIED_MS);
        const texts = JSON.stringify(talk.texts(run.id));
        trial.must(texts === JSON.stringify([numberedText(TOKENS)]), `a neighbour reads ${texts}`);
      }),
    ),
    ...evil.map(({ kind, talk }) =>
      trial.operation(`the end of a run (${kind})`, () => bury(world, trial, kind, talk)),
    ),
  ]);
  await trial.check([...neighbours, ...evil.map(({ talk }) => talk)]);
}

async function bury(world: World, trial: Trial, kind: string, talk: Talk): Promise<void> {
  const submission = await talk.ask(kind);
  const runId = submission.run.id;
  await talk.when(`the end of the run (${kind})`, (state) => state.runs[runId]?.status === "failed", BURIED_MS);
  const { error } = await getRun(world.staff(), runId);
  const died = /died (\d+) times/.exec(error?.detail ?? "");
  trial.must(error?.code === "poison" && Number(died?.[1]) <= 3, `${kind} ended with ${JSON.stringify(error)}`);
  if (died) trial.fired(kind);
}
