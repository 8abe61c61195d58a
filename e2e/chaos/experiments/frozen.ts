/**
 * 4: SIGSTOP of a worker until its lease is over and others have finished its runs, then SIGCONT. Half of the runs it
 * held are in the middle of a model's answer, whose rest, a tool call, arrives while it is frozen; the other half wait
 * for a tool whose answer arrives then. Awake again, it must write nothing and call nothing.
 */
import { randomUUID } from "node:crypto";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { holdersOf } from "../holders.ts";
import { requestsOf } from "../model-requests.ts";
import { callTool } from "../shop-agent.ts";
import { assistantMessages, type Talk } from "../talk.ts";
import type { World, WorldWorker } from "../world.ts";

const FROZEN = "frozen past its lease";
const TALKS = 10;
const FREEZES_AT_ONCE = 2;

export const frozen: Experiment = {
  id: "4",
  title: "worker frozen past its lease, then awake",
  target: "0 zombie commits, 0 calls",
  rounds: { quick: 2, full: 200 },
  faults: [FROZEN],
  disturbs: "everybody",
  async run(world, trial) {
    for (let freezes = 0, tries = 0; freezes < trial.rounds && tries < 2 * trial.rounds; tries++) {
      await world.ensureWorkers();
      freezes += await round(world, trial, Math.min(FREEZES_AT_ONCE, trial.rounds - freezes));
    }
  },
};

interface Held {
  talk: Talk;
  runId: string;
  value: string;
  isMidToken: boolean;
  /** Lets the model or the tool go on. */
  release(): void;
}

async function round(world: World, trial: Trial, count: number): Promise<number> {
  const held = await Promise.all(
    Array.from({ length: TALKS }, (_, index) => (index % 2 === 0 ? beginToken(world, trial) : beginTool(world, trial))),
  );
  const holders = await holdersOf(world, held);
  const victims = trial.random.shuffled([...holders]).slice(0, count);
  for (const [worker] of victims) worker.process.signal("SIGSTOP");
  try {
    for (const { release } of held) release();
    const spared = held.filter((one) => !victims.some(([, own]) => own.includes(one)));
    // Who is not frozen calls what its model says, once.
    const allowed = new Set(spared.map(({ value }) => value));
    await Promise.all(held.map(({ talk, runId }) => trial.operation("an answer", () => talk.completed(runId))));
    for (const [worker, own] of victims) {
      if (await isTakenOver(world, worker, own)) trial.fired(FROZEN);
    }
    const heads = await headsOf(world, held);
    await Promise.all(victims.map(([worker, own]) => wake(worker, own.length)));
    trial.must(heads === (await headsOf(world, held)), "a worker that woke up too late wrote into a log");
    for (const { isMidToken, value, runId } of held) {
      const calls = callsWith(world, value);
      const wanted = allowed.has(value) || !isMidToken;
      trial.must(
        calls.filter(({ outcome }) => outcome === "applied").length === (wanted ? 1 : 0),
        `${runId} had ${calls.length} calls, ${isMidToken ? "mid-token" : "mid-tool"}`,
      );
    }
  } finally {
    for (const [{ process }] of victims) process.signal("SIGCONT");
  }
  await trial.check(held.map(({ talk }) => talk));
  return victims.length;
}

const callsWith = (world: World, value: string) =>
  world.tools.ledger.filter(({ body }) => (body as { value?: string } | null)?.value === value);

/** The model stands still mid-answer; what it says next is a tool call, which nobody but this attempt makes. */
async function beginToken(world: World, trial: Trial): Promise<Held> {
  const talk = await trial.talk();
  const value = randomUUID();
  const text = `Think first, ${value}`;
  const begin = { kind: "tokens" as const, count: 3 };
  const { run } = await talk.ask(
    say(text, [{ steps: [begin, { kind: "hold" }, callTool("send", value)] }, { steps: [begin] }], { steps: [begin] }),
  );
  await talk.when("part of the answer", (state) => assistantMessages(state, run.id).some(({ text }) => text !== ""));
  const release = () => requestsOf(world, text)[0]?.release();
  return { talk, runId: run.id, value, isMidToken: true, release };
}

/** A tool that has been called and stands still. */
async function beginTool(world: World, trial: Trial): Promise<Held> {
  const talk = await trial.talk();
  const value = randomUUID();
  const gate = Promise.withResolvers<void>();
  world.toolFaults.set(value, { kind: "gate", opened: gate.promise });
  const { run } = await talk.ask(
    say("Set it", { steps: [callTool("set", value)] }, { steps: [{ kind: "tokens", count: 3 }] }),
  );
  await waitFor(() => callsWith(world, value).length === 1, { describe: "the tool to be called", timeoutMs: 30_000 });
  return { talk, runId: run.id, value, isMidToken: false, release: gate.resolve };
}

async function isTakenOver(world: World, worker: WorldWorker, own: readonly Held[]): Promise<boolean> {
  const { rows } = await world.db.query<{ n: number }>(
    `select count(*)::int as n from runs where id = any ($1::uuid[]) and attempt >= 2
       and not exists (select 1 from workers where id = $2 and expires_at > now())`,
    [own.map(({ runId }) => runId.slice(4)), worker.uuid],
  );
  return rows[0]?.n === own.length;
}

async function headsOf(world: World, held: readonly Held[]): Promise<string> {
  const { rows } = await world.db.query<{ heads: string }>(
    "select string_agg(conversation_id::text || last_seq, ',' order by conversation_id) as heads from conversation_heads where conversation_id = any ($1::uuid[])",
    [held.map(({ talk }) => talk.conversationId.slice(5))],
  );
  return rows[0]?.heads ?? "";
}

/** Resolves when it has found out that its runs are no longer its own. */
async function wake({ name, process }: WorldWorker, runs: number): Promise<void> {
  const givenUp = () => process.logs().match(/run given up/g)?.length ?? 0;
  const before = givenUp();
  process.signal("SIGCONT");
  await waitFor(() => !process.isRunning() || givenUp() >= before + runs, {
    describe: () => `${name} to give up ${runs} runs; it gave up ${givenUp() - before}`,
    timeoutMs: 30_000,
  });
}
