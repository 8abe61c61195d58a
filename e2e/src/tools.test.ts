import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { forAudience } from "@agent-engine/protocol/envelope.ts";
import type { Agent } from "@agent-engine/protocol/resources.ts";
import { verifyAgUi } from "@agent-engine/testing/ag-ui.ts";
import { lastUserTurn } from "@agent-engine/testing/chat-request.ts";
import { storedEvents, violations, type Acknowledged } from "@agent-engine/testing/invariants.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startToolServer, type ToolFault, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import {
  apiAt,
  createConversation,
  follow,
  getRun,
  openVisitor,
  pollState,
  send,
  type Api,
  type Reader,
} from "./api-client.ts";
import { startCluster, type Cluster } from "./cluster.ts";

/** Time enough to do something to the worker between a tool's effect and its answer. */
const SLOW_MS = 1_500;

let cluster: Cluster;
let tools: ToolServer;
let staff: Api;
let dataDir: string;
const acknowledged: Acknowledged[] = [];
const readers: Reader[] = [];

beforeAll(async () => {
  tools = await startToolServer({ fault: firstCallFault });
  dataDir = mkdtempSync(join(tmpdir(), "agent-engine-e2e-"));
  cluster = await startCluster({ servers: 1, workers: 1, workerEnv: { NODE_ENV: "test", DATA_DIR: dataDir } });
  staff = apiAt(urlOf(), cluster.keys.secretKey);
  const parameters = { type: "object", properties: { value: { type: "string" } } };
  const settings = {
    name: "shop",
    baseUrl: tools.url,
    operations: [
      { name: "set", description: "Sets", method: "PUT", path: "/set", parameters },
      { name: "send", description: "Sends", method: "POST", path: "/send", parameters },
    ],
  };
  const agentPath = `/v1/agents/${cluster.keys.agentId}`;
  await staff.request<Agent>("PATCH", agentPath, {
    knowledge: { enabled: false },
    toolkits: [{ toolkit: "http", settings }],
  });
  await staff.request("POST", `${agentPath}/publish`);
});

afterEach(() => {
  for (const reader of readers.splice(0)) reader.close();
});

afterAll(async () => {
  await cluster?.stop();
  await tools?.stop();
  if (dataDir) rmSync(dataDir, { recursive: true, force: true });
});

const urlOf = (): string => cluster.servers[0]?.url ?? "";

/** What a call is to suffer is in its argument; only its first attempt does. */
function firstCallFault(call: { key: string | null; body: unknown }): ToolFault | null {
  if (tools.ledger.filter(({ key }) => key === call.key).length > 1) return null;
  const { value } = call.body as { value: string };
  return value.startsWith("hang") ? { kind: "hang", when: "after" } : { kind: "slow", delayMs: SLOW_MS };
}

interface Talk {
  visitor: Api;
  conversationId: string;
  runId: string;
  reader: Reader;
  key: string;
  text: string;
}

let talks = 0;

/** A visitor whose question makes the agent speak, call a tool, and answer. */
async function talk(tool: "set" | "send", fault: "hang" | "slow"): Promise<Talk> {
  const visitor = await openVisitor(urlOf(), cluster.keys.publishableKey);
  const { id: conversationId } = await createConversation(visitor);
  const reader = await follow(urlOf(), visitor.token, conversationId);
  readers.push(reader);
  const text = `Question ${++talks}:`;
  const call = { kind: "toolCall" as const, name: `shop_${tool}`, arguments: { value: `${fault} ${talks}` } };
  const question = say(
    text,
    { steps: [{ kind: "text", text: "One moment. " }, call] },
    { steps: [{ kind: "text", text: "Here you are." }] },
  );
  const submission = await send(visitor, conversationId, "m1", question);
  const runId = submission.run.id;
  acknowledged.push({ conversationId, clientMessageId: "m1", messageId: submission.message.id, runId });
  const key = createHash("sha256").update(`${runId}:0:0`).digest("hex");
  return { visitor, conversationId, runId, reader, key, text };
}

const callsOf = ({ key }: Talk) => tools.ledger.filter((call) => call.key === key);
const turnsOf = ({ text }: Talk) =>
  cluster.model.requests
    .filter(({ body }) => lastUserTurn(body.messages).text.startsWith(text))
    .map(({ turn }) => turn);
const textsOf = ({ reader }: Talk) =>
  reader.state.messages.filter(({ role }) => role === "assistant").map(({ text }) => text);

/** Sees the run's status arrive at its visitor. */
async function becomes(one: Talk, status: string): Promise<void> {
  await waitFor(() => one.reader.state.runs[one.runId]?.status === status, {
    describe: () => `${one.text} to be ${status}, it is ${one.reader.state.runs[one.runId]?.status}`,
    timeoutMs: 30_000,
  });
}

async function called(some: readonly Talk[]): Promise<void> {
  await waitFor(() => some.every((one) => callsOf(one).length === 1), {
    describe: "every tool to be called",
    timeoutMs: 20_000,
  });
}

/** The tool had its effect once; the model was asked for each turn once; the visitor reads everything once. */
function expectOnce(one: Talk): void {
  expect(callsOf(one).filter(({ outcome }) => outcome === "applied")).toHaveLength(1);
  expect(turnsOf(one)).toEqual([0, 1]);
  expect(textsOf(one)).toEqual(["One moment. ", "Here you are."]);
}

function expectUnknown(one: Talk): void {
  expect(callsOf(one)).toHaveLength(1);
  expect(turnsOf(one)).toEqual([0]);
  expect(textsOf(one)).toEqual(["One moment. "]);
  expect(JSON.stringify(one.reader.state.runs[one.runId])).not.toMatch(/metadata|idempotencyKey|interrupted/);
}

async function expectSound(some: readonly Talk[]): Promise<void> {
  for (const one of some) {
    expect(one.reader.gaps).toBe(0);
    expect(one.reader.state).toEqual(await pollState(one.visitor, one.conversationId));
    const own = (await storedEvents(cluster.db, one.conversationId)).filter(({ runId }) => runId === one.runId);
    for (const reader of ["all", "staff"] as const)
      await verifyAgUi(own.map((event) => forAudience(event, reader).event));
  }
  const clients = some.map(({ conversationId, reader }) => ({
    conversationId,
    reader: "all" as const,
    state: reader.state,
  }));
  expect(await violations(cluster.db, { acknowledged, ledger: tools.ledger, clients })).toEqual([]);
}

test("a worker killed mid-tool, and between a tool's success and the commit", async () => {
  const some = await Promise.all([
    talk("set", "hang"),
    talk("send", "hang"),
    talk("set", "slow"),
    talk("send", "slow"),
  ]);
  const [setMidway, sendMidway, setDone, sendDone] = some;
  await called(some);
  // Whoever would record the answers of the slow ones has to wait for us.
  const lock = await cluster.db.connect();
  await lock.query("begin");
  await lock.query("select 1 from tool_invocations where idempotency_key = any ($1) for update", [
    [setDone.key, sendDone.key],
  ]);
  await waitFor(
    async () => {
      const { rows } = await cluster.db.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length === 2;
    },
    { describe: "both answers to be there and not committed" },
  );
  cluster.workers[0]?.process.signal("SIGKILL");
  await cluster.workers[0]?.process.exited;
  await lock.query("rollback");
  lock.release();
  await cluster.addWorker();

  for (const one of [setMidway, setDone]) {
    await becomes(one, "completed");
    expectOnce(one);
    expect(callsOf(one).map(({ outcome }) => outcome)).toEqual(["applied", "replayed"]);
    expect(await getRun(one.visitor, one.runId)).toMatchObject({ status: "completed", attempt: 2 });
  }
  for (const one of [sendMidway, sendDone]) {
    await becomes(one, "waiting");
    expectUnknown(one);
    expect(await getRun(staff, one.runId)).toMatchObject({
      interrupts: [{ reason: "operator", metadata: { outcome: "unknown", code: "interrupted", attempts: 1 } }],
    });
  }
  await expectSound(some);

  // One is decided by an operator, the other is left behind by its visitor.
  const [interrupt] = (await getRun(staff, sendMidway.runId)).interrupts;
  await staff.request("POST", `/v1/runs/${sendMidway.runId}/resume`, { interruptId: interrupt?.id, decision: "done" });
  await becomes(sendMidway, "completed");
  expectOnce(sendMidway);
  const next = await send(sendDone.visitor, sendDone.conversationId, "m2", "Never mind");
  await becomes({ ...sendDone, runId: next.run.id }, "completed");
  expect(sendDone.reader.state.runs[sendDone.runId]?.status).toBe("cancelled");
  expect(callsOf(sendDone)).toHaveLength(1);
  await expectSound(some);
});

test("a worker that was frozen mid-tool and comes back too late changes nothing", async () => {
  const frozen = cluster.workers[1];
  const some = await Promise.all([talk("set", "slow"), talk("send", "slow")]);
  const [set, write] = some;
  await called(some);
  frozen?.process.signal("SIGSTOP");
  await cluster.addWorker();
  await becomes(set, "completed");
  await becomes(write, "waiting");
  const before = frozen?.process.logs().match(/run given up/g)?.length ?? 0;
  frozen?.process.signal("SIGCONT");
  // It finds the answers that it was waiting for, and that they are no longer its to record.
  await waitFor(() => (frozen?.process.logs().match(/run given up/g)?.length ?? 0) === before + 2, {
    describe: "both runs to be given up",
  });
  expectOnce(set);
  expectUnknown(write);
  await expectSound(some);
});
