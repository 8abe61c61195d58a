/**
 * 2: `kill -9` of a worker while a tool works (before and after the tool's effect), and between the tool's success and
 * the commit of its result. The moment is exact: calls hang, or pass a gate only when the row that their result goes to
 * is locked. An idempotent tool is called again under the same key and has one effect; a write is never called again
 * but waits for an operator, who decides in every way there is.
 */
import { randomUUID } from "node:crypto";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { LedgerEntry } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { getRun } from "../../src/api-client.ts";
import type { Experiment, Trial } from "../experiment.ts";
import { holdersOf } from "../holders.ts";
import { callTool } from "../shop-agent.ts";
import type { Talk } from "../talk.ts";
import type { World } from "../world.ts";

const MID_TOOL = "killed mid-tool";
const BEFORE_COMMIT = "killed between success and commit";
type Moment = "before the effect" | "after the effect" | "before the commit";
type Tool = "set" | "send";
const AT_ONCE = 4;

export const killedMidTool: Experiment = {
  id: "2",
  title: "worker killed mid-tool, before the commit",
  target: "idempotent: 1 effect; write: 100 % unknown, 0 automatic retries",
  rounds: { quick: 4, full: 300 },
  faults: [MID_TOOL, BEFORE_COMMIT],
  disturbs: "everybody",
  async run(world, trial) {
    for (let done = 0; done < trial.rounds; done += AT_ONCE) {
      await world.ensureWorkers();
      await round(world, trial, Math.min(AT_ONCE, trial.rounds - done));
    }
  },
};

interface Calling {
  talk: Talk;
  runId: string;
  tool: Tool;
  moment: Moment;
  value: string;
}

async function round(world: World, trial: Trial, count: number): Promise<void> {
  const { random } = trial;
  const gate = Promise.withResolvers<void>();
  const plans = Array.from({ length: count }, (_, index): { moment: Moment; tool: Tool }[] => [
    { moment: random.pick(["before the effect", "after the effect"]), tool: index % 2 === 0 ? "set" : "send" },
    { moment: "before the commit", tool: index % 2 === 0 ? "send" : "set" },
  ]).flat();
  const calling = await Promise.all(plans.map((plan) => begin(world, trial, plan, gate.promise)));
  const callsOf = ({ value }: Calling): LedgerEntry[] =>
    world.tools.ledger.filter(({ body }) => (body as { value?: string } | null)?.value === value);
  await waitFor(() => calling.every((one) => callsOf(one).length === 1), {
    describe: "every tool to be called",
    timeoutMs: 30_000,
  });
  const late = calling.filter(({ moment }) => moment === "before the commit");
  const lock = await lockResults(world, late);
  gate.resolve();
  try {
    await waitFor(async () => (await lock.waiting()) >= late.length, {
      describe: "every answer to be there and not committed",
      timeoutMs: 30_000,
    });
    const held = await holdersOf(world, calling);
    for (const [worker, own] of held) {
      worker.process.signal("SIGKILL");
      for (const { moment } of own) trial.fired(moment === "before the commit" ? BEFORE_COMMIT : MID_TOOL);
    }
    await Promise.all([...held.keys()].map(({ process }) => process.exited));
  } finally {
    await lock.release();
  }
  await world.ensureWorkers();
  await Promise.all(
    calling.map((one) =>
      trial.operation(`${one.tool}, ${one.moment}`, async () => {
        await (one.tool === "set" ? expectOneEffect(trial, one, callsOf) : expectUnknown(world, trial, one, callsOf));
      }),
    ),
  );
  await trial.check(calling.map(({ talk }) => talk));
}

async function begin(
  world: World,
  trial: Trial,
  { moment, tool }: { moment: Moment; tool: Tool },
  opened: Promise<void>,
): Promise<Calling> {
  const talk = await trial.talk();
  const value = randomUUID();
  world.toolFaults.set(
    value,
    moment === "before the commit"
      ? { kind: "gate", opened }
      : { kind: "hang", when: moment === "before the effect" ? "before" : "after" },
  );
  const { run } = await talk.ask(
    say(
      "Do it",
      { steps: [{ kind: "text", text: "One moment. " }, callTool(tool, value)] },
      { steps: [{ kind: "text", text: "Here you are." }] },
    ),
  );
  return { talk, runId: run.id, tool, moment, value };
}

/** Whoever would record these calls' results has to wait for us. */
async function lockResults(
  world: World,
  calling: readonly Calling[],
): Promise<{ waiting(): Promise<number>; release(): Promise<void> }> {
  const client = await world.db.connect();
  await client.query("begin");
  await client.query("select 1 from tool_invocations where run_id = any ($1::uuid[]) for update", [
    calling.map(({ runId }) => runId.slice(4)),
  ]);
  const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  return {
    async waiting() {
      const blocked = await world.db.query<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where $1 = any (pg_blocking_pids(pid))",
        [rows[0]?.pid],
      );
      return blocked.rows[0]?.n ?? 0;
    },
    async release() {
      await client.query("rollback");
      client.release();
    },
  };
}

async function expectOneEffect(trial: Trial, one: Calling, callsOf: (one: Calling) => LedgerEntry[]): Promise<void> {
  await one.talk.completed(one.runId);
  const outcomes = callsOf(one).map(({ outcome }) => outcome);
  trial.must(
    outcomes.filter((outcome) => outcome === "applied").length === 1,
    `an idempotent tool, killed ${one.moment}: ${JSON.stringify(outcomes)}`,
  );
  expectTexts(trial, one);
}

async function expectUnknown(
  world: World,
  trial: Trial,
  one: Calling,
  callsOf: (one: Calling) => LedgerEntry[],
): Promise<void> {
  const { talk, runId, moment } = one;
  await talk.when("the write to wait for an operator", (state) => state.runs[runId]?.status === "waiting");
  const run = await getRun(world.staff(), runId);
  const [interrupt] = run.interrupts;
  trial.must(
    interrupt?.reason === "operator" && interrupt.metadata?.["outcome"] === "unknown",
    `a write, killed ${moment}: ${JSON.stringify(run.interrupts)}`,
  );
  trial.must(callsOf(one).length === 1, `a write, killed ${moment}, was called ${callsOf(one).length} times`);
  const decision = trial.random.pick(["done", "retry", "abort", "left behind"] as const);
  if (decision === "left behind") {
    const next = await talk.ask("Never mind");
    await talk.completed(next.run.id);
    trial.must(talk.status(runId) === "cancelled", `a run that was left behind is ${talk.status(runId)}`);
    return;
  }
  const key = callsOf(one)[0]?.key;
  if (decision === "retry" && key) trial.operatorRetried(key);
  await world.staff().request<Run>("POST", `/v1/runs/${runId}/resume`, { interruptId: interrupt?.id, decision });
  if (decision === "abort") {
    await talk.when("the run to fail", (state) => state.runs[runId]?.status === "failed");
    return;
  }
  await talk.when("the run to complete", (state) => state.runs[runId]?.status === "completed");
  const calls = callsOf(one).length;
  trial.must(calls === (decision === "retry" ? 2 : 1), `after an operator's ${decision}: ${calls} calls`);
  expectTexts(trial, one);
}

function expectTexts(trial: Trial, { talk, runId }: Calling): void {
  const texts = JSON.stringify(talk.texts(runId));
  trial.must(texts === JSON.stringify(["One moment. ", "Here you are."]), `${runId} reads ${texts}`);
}
