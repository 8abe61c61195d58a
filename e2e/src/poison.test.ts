/** Runs that kill whoever executes them, for real: an endless loop and a hunger for memory. Nothing is injected. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { violations } from "@agent-engine/testing/invariants.ts";
import { numberedText, type ModelScript } from "@agent-engine/testing/model-script.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Agent, Run, Submission } from "@agent-engine/protocol/resources.ts";
import { apiAt, createConversation, getRun, openVisitor, pollState, send, type Api } from "./api-client.ts";
import { startCluster, type Cluster, type ClusterWorker } from "./cluster.ts";

const NEIGHBOUR_TOKENS = 40;
const STUCK_SECONDS = "3";
const HEAP_MB = 160;

/** Takes a regular expression that backtracks longer than anybody lives. */
const ENDLESS: ModelScript = {
  steps: [{ kind: "toolCall", name: "shop_look", arguments: { value: `${"a".repeat(60)}!` } }],
};
/** Arguments of a call whose name never comes: nothing of it can be told to anybody. */
const piece = JSON.stringify({
  choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: "x".repeat(1_000_000) } }] } }],
});
const GREEDY: ModelScript = {
  steps: Array.from({ length: 4 * HEAP_MB }, () => ({ kind: "raw" as const, text: `data: ${piece}\n\n` })),
};

let cluster: Cluster;
let staff: Api;
let agentId: string;
let messages = 0;

beforeAll(async () => {
  cluster = await startCluster({
    servers: 1,
    workers: 2,
    workerEnv: { WORKER_STUCK_SECONDS: STUCK_SECONDS, NODE_OPTIONS: `--max-old-space-size=${HEAP_MB}` },
  });
  cluster.model.setScript(({ messages: said }) => {
    const text = JSON.stringify(said.at(-1));
    if (text.includes("endless")) return ENDLESS;
    if (text.includes("greedy")) return GREEDY;
    return { gapMs: 100, steps: [{ kind: "tokens", count: NEIGHBOUR_TOKENS }] };
  });
  staff = apiAt(urlOf(), cluster.keys.secretKey);
  const agent = await staff.request<Agent>("POST", "/v1/agents", { name: "Poisonous", toolkits: [evilToolkit()] });
  agentId = agent.id;
  await staff.request("POST", `/v1/agents/${agentId}/publish`);
});
afterAll(() => cluster?.stop());

const urlOf = (): string => cluster.servers[0]?.url ?? "";

function evilToolkit() {
  const parameters = { type: "object", properties: { value: { type: "string", pattern: "^(a+)+$" } } };
  const look = { name: "look", description: "Looks", method: "GET", path: "/look", parameters };
  return { toolkit: "http", settings: { name: "shop", baseUrl: "https://tools.example", operations: [look] } };
}

async function askAsVisitor(text: string): Promise<{ visitor: Api; conversationId: string; runId: string }> {
  const visitor = await openVisitor(urlOf(), cluster.keys.publishableKey);
  const { id: conversationId } = await createConversation(visitor);
  const { run } = await send(visitor, conversationId, `message-${++messages}`, text);
  return { visitor, conversationId, runId: run.id };
}

const ended = (api: Api, runId: string) =>
  waitFor(
    async () => {
      const run = await getRun(api, runId);
      return run.finishedAt === null ? null : run;
    },
    { describe: () => `${runId} to end;\n${logs()}`, timeoutMs: 100_000 },
  );

const logs = () => cluster.workers.map(({ process }) => process.logs().slice(-1_500)).join("\n---\n");
const alive = (): ClusterWorker[] => cluster.workers.filter(({ process }) => process.isRunning());

/** Starts a worker for each that ends, as whatever supervises them does. Answers the function that stops it, and the dead. */
function supervise(): () => Promise<ClusterWorker[]> {
  const dead: ClusterWorker[] = [];
  let isOver = false;
  const starting: Promise<unknown>[] = [];
  const watch = (worker: ClusterWorker): void => {
    void worker.process.exited.then(() => {
      if (isOver) return;
      dead.push(worker);
      starting.push(cluster.addWorker().then(watch));
    });
  };
  for (const worker of alive()) watch(worker);
  return async () => {
    isOver = true;
    await Promise.all(starting);
    return dead;
  };
}

async function expectDeadLetter(run: Run, reason: RegExp): Promise<void> {
  expect(run).toMatchObject({
    status: "failed",
    error: { code: "poison", detail: expect.stringMatching(/^Its worker died 3 times/) },
  });
  expect(run.error?.detail).toMatch(reason);
  const { rows } = await cluster.db.query("select state, reason from jobs where run_id = $1 order by hand_over desc", [
    run.id.slice(4),
  ]);
  expect(rows[0]).toEqual({ state: "dead", reason: run.error?.detail });
}

test.each<[string, RegExp, RegExp]>([
  ["endless", /did not come to an end/, /the event loop has stood still/],
  ["greedy", /ran out of memory/, /heap out of memory/],
])("a run that is %s kills two workers and dies alone, and its neighbours finish", async (kind, reason, lastWord) => {
  const stop = supervise();
  const neighbours = await Promise.all([1, 2, 3].map((n) => askAsVisitor(`Neighbour ${n}`)));
  const { run } = await staff.request<Submission>("POST", "/v1/runs", { agentId, input: `Be ${kind}` });
  await expectDeadLetter(await ended(staff, run.id), reason);
  for (const { visitor, conversationId, runId } of neighbours) {
    expect(await ended(visitor, runId)).toMatchObject({ status: "completed", error: null });
    const state = await pollState(visitor, conversationId);
    const texts = state.messages.filter(({ role }) => role === "assistant").map(({ text }) => text);
    expect(texts).toEqual([numberedText(NEIGHBOUR_TOKENS)]);
  }
  const dead = await stop();
  expect(dead).toHaveLength(2);
  for (const { process } of dead) expect(process.logs()).toMatch(lastWord);
  expect(logs()).not.toMatch(/quarantine process cannot/);
  expect(await violations(cluster.db)).toEqual([]);
  // Visitors read a sentence, not what happened.
  const { runs } = await pollState(staff, run.conversationId);
  expect(JSON.stringify(runs[run.id])).not.toMatch(/worker|memory|loop/);
});

test("a worker killed with a run in quarantine, stuck there, leaves nothing running", async () => {
  const { run } = await staff.request<Submission>("POST", "/v1/runs", { agentId, input: "Be endless" });
  const stop = supervise();
  const cell = await waitFor(
    async () => {
      for (const { process } of alive()) {
        const found = /"pid":(\d+)[^\n]*goes on in quarantine/.exec(process.logs());
        if (found && isRunning(Number(found[1]))) return { pid: Number(found[1]), parent: process };
      }
      return null;
    },
    { describe: () => `a quarantine process;\n${logs()}`, timeoutMs: 60_000 },
  );
  cell.parent.signal("SIGKILL");
  await waitFor(() => !isRunning(cell.pid), { describe: "the quarantine process to end", timeoutMs: 30_000 });
  await expectDeadLetter(await ended(staff, run.id), /./);
  await stop();
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
