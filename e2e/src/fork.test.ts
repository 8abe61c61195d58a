import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Agent, Conversation, EventPage, Page, Run, Submission } from "@agent-engine/protocol/resources.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import { textOf } from "@agent-engine/testing/chat-request.ts";
import { storedEvents, violations } from "@agent-engine/testing/invariants.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { ModelStep } from "@agent-engine/testing/model-script.ts";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { apiAt, createConversation, getRun, openVisitor, send, type Api } from "./api-client.ts";
import { startCluster, type Cluster } from "./cluster.ts";

let cluster: Cluster;
let tools: ToolServer;
let staff: Api;
let dataDir: string;

beforeAll(async () => {
  tools = await startToolServer();
  dataDir = mkdtempSync(join(tmpdir(), "agent-engine-e2e-"));
  cluster = await startCluster({ servers: 1, workers: 1, workerEnv: { NODE_ENV: "test", DATA_DIR: dataDir } });
  staff = apiAt(cluster.servers[0]?.url ?? "", cluster.keys.secretKey);
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
  const toolkits = [{ toolkit: "http", settings }];
  await staff.request<Agent>("PATCH", agentPath, { knowledge: { enabled: false }, toolkits });
  await staff.request("POST", `${agentPath}/publish`);
});

afterEach(expectSound);

afterAll(async () => {
  await cluster?.stop();
  await tools?.stop();
  if (dataDir) rmSync(dataDir, { recursive: true, force: true });
});

async function expectSound(): Promise<void> {
  expect(await violations(cluster.db, { ledger: tools.ledger })).toEqual([]);
}

const calls = (name: "set" | "send", value: string): ModelStep => ({
  kind: "toolCall",
  name: `shop_${name}`,
  arguments: { value },
});
const says = (text: string): ModelStep => ({ kind: "text", text });

/** Calls a write, then an idempotent tool, then answers; with something in between for forks that say so. */
const question = (tag: string, between: ModelStep[] = []) =>
  say(
    `Question ${tag}`,
    { steps: [says("Sending. "), calls("send", `${tag} letter`)] },
    { steps: [...between, says("Setting. "), calls("set", `${tag} flag`)] },
    { steps: [says("Both done.")] },
  );
const TEXTS = ["Sending. ", "Setting. ", "Both done."];

interface Original {
  tag: string;
  visitor: Api;
  run: Run;
  state: ConversationState;
}

let originals = 0;

async function original(): Promise<Original> {
  const tag = `original-${++originals}`;
  const visitor = await openVisitor(cluster.servers[0]?.url ?? "", cluster.keys.publishableKey);
  const { id } = await createConversation(visitor);
  const { run } = await send(visitor, id, "m1", question(tag));
  const ended = await settled(run.id);
  expect(ended.status).toBe("completed");
  expect(callsOf(tag)).toHaveLength(2);
  return { tag, visitor, run: ended, state: await stateOf(ended) };
}

function settled(runId: string): Promise<Run> {
  return waitFor(
    async () => {
      const run = await getRun(staff, runId);
      return run.status === "queued" || run.status === "running" ? null : run;
    },
    { describe: `${runId} to end or wait`, timeoutMs: 30_000 },
  );
}

const fork = async (runId: string, body: unknown): Promise<Run> =>
  settled((await staff.request<Submission>("POST", `/v1/runs/${runId}/fork`, body)).run.id);

const stateOf = ({ conversationId }: Run) =>
  staff.request<ConversationState>("GET", `/v1/conversations/${conversationId}/state`);

const textsOf = async (run: Run) =>
  (await stateOf(run)).messages.filter(({ role }) => role === "assistant").map(({ text }) => text);

const callsOf = (tag: string) => tools.ledger.filter(({ body }) => JSON.stringify(body).includes(tag));

/** What models were told by tools, and by whom they were instructed, in the newest request about it. */
function lastRequest(tag: string) {
  const messages = cluster.model.requests.findLast(({ body }) =>
    body.messages.some((message) => message.role === "user" && textOf(message).includes(tag)),
  )?.body.messages;
  return {
    system: messages?.slice(0, 1).map(textOf).join(),
    results: messages?.filter(({ role }) => role === "tool").map(textOf),
  };
}

test("a fork with other instructions, and one with another result, call no tool twice", async () => {
  const { tag, visitor, run, state } = await original();
  const before = await storedEvents(cluster.db, run.conversationId);
  const [letter, flag] = state.toolCalls;

  const instructed = await fork(run.id, { changes: { instructions: "Answer in rhymes." } });
  expect(instructed).toMatchObject({ status: "completed", forkedFrom: { runId: run.id } });
  expect(await textsOf(instructed)).toEqual(TEXTS);
  expect(lastRequest(tag)).toMatchObject({
    system: expect.stringContaining("Answer in rhymes."),
    results: [letter?.result, flag?.result],
  });

  const atSeq = before.find(({ event }) => event.type === "TOOL_CALL_RESULT")?.seq;
  const toolResults = { [letter?.id ?? ""]: `{"ok":false,"reason":"no stamps"}` };
  const changed = await fork(run.id, { atSeq, changes: { toolResults } });
  expect(changed).toMatchObject({ status: "completed", forkedFrom: { runId: run.id, seq: atSeq } });
  expect(await textsOf(changed)).toEqual(TEXTS);
  expect(lastRequest(tag).results).toEqual([`{"ok":false,"reason":"no stamps"}`, flag?.result]);

  // The ledger holds the original's two calls and no other, under the original's keys.
  expect(callsOf(tag).map(({ effect, outcome }) => [effect, outcome])).toEqual([
    ["write", "applied"],
    ["idempotent", "applied"],
  ]);
  expect(await storedEvents(cluster.db, run.conversationId)).toEqual(before);
  expect(await getRun(staff, run.id)).toEqual(run);
  const seen = await visitor.request<Page<Conversation>>("GET", "/v1/conversations");
  expect(seen.items.map(({ id }) => id)).toEqual([run.conversationId]);
});

test("forks from every event of a run end as it did", async () => {
  const { tag, run } = await original();
  const { items } = await staff.request<EventPage>("GET", `/v1/runs/${run.id}/events?limit=1000`);
  const forked = await Promise.all(items.map(({ seq }) => fork(run.id, { atSeq: seq })));
  expect(forked.map(({ forkedFrom, status }) => [forkedFrom?.seq, status])).toEqual(
    items.map(({ seq }) => [seq, "completed"]),
  );
  for (const one of forked) expect(await textsOf(one)).toEqual(TEXTS);
  expect(callsOf(tag)).toHaveLength(2);
});

test("a worker killed in the middle of a fork: another one goes on, with its changes, and calls nothing", async () => {
  const { tag, run } = await original();
  const message = question(tag, [{ kind: "hold" }]);
  const started = await staff.request<Submission>("POST", `/v1/runs/${run.id}/fork`, {
    changes: { message, instructions: "Be slow." },
  });
  // The first call has its result, and the model is asked what to do next.
  const asked = () => cluster.model.requests.filter(({ turn, end }) => turn === 1 && end === null);
  await waitFor(() => asked().length === 1, { describe: "the fork's second turn" });
  const [worker] = cluster.workers;
  worker?.process.signal("SIGKILL");
  await worker?.process.exited;
  await cluster.addWorker();
  await waitFor(() => asked().length === 1, { describe: "the second turn to be made again", timeoutMs: 30_000 });
  for (const request of asked()) request.release();
  expect(await settled(started.run.id)).toMatchObject({ status: "completed", attempt: 2 });
  expect(await textsOf(started.run)).toEqual(TEXTS);
  expect(lastRequest(tag).system).toContain("Be slow.");
  expect(callsOf(tag)).toHaveLength(2);
});

test("a call that the original did not make waits for a person, who decides it", async () => {
  const { tag, run } = await original();
  const message = say(`Other ${tag}`, { steps: [calls("send", `${tag} second letter`)] }, { steps: [says("Sent.")] });
  const forked = await fork(run.id, { changes: { message } });
  expect(forked).toMatchObject({ status: "waiting", interrupts: [{ reason: "approval" }] });
  expect(callsOf(tag)).toHaveLength(2);
  const [interrupt] = forked.interrupts;
  const decision = { interruptId: interrupt?.id, decision: "approve" };
  await staff.request("POST", `/v1/runs/${forked.id}/resume`, decision);
  await waitFor(async () => (await getRun(staff, forked.id)).status === "completed", { describe: "the fork to end" });
  expect(callsOf(tag)).toHaveLength(3);
});
