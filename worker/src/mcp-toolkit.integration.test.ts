/** An installed MCP toolkit in runs of real workers, over the wire: how long its sessions live, and what it says of its tools. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { publishAgent } from "@agent-engine/core/agents/publish-agent.ts";
import { updateAgent } from "@agent-engine/core/agents/update-agent.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { createEgress } from "@agent-engine/core/net/egress.ts";
import { changeToolkit } from "@agent-engine/core/toolkits/installed/change-toolkit.ts";
import { installToolkit } from "@agent-engine/core/toolkits/installed/install-toolkit.ts";
import { getToolkit } from "@agent-engine/core/toolkits/installed/read-toolkits.ts";
import { depsOf, says as answers, toolThat } from "@agent-engine/core/toolkits/mcp/mcp-fixture.ts";
import { startMcpServer, type McpTestServer } from "@agent-engine/testing/mcp-server.ts";
import { modelFaults } from "@agent-engine/testing/model-faults.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;
let worker: RunningWorker;
let server: McpTestServer;
/** Opens what the slow tool waits for. */
let gate: PromiseWithResolvers<void>;

const egress = createEgress({ allowLoopback: true });
const deps = depsOf(egress);
const find = toolThat("find", () => answers("found"), { readOnlyHint: true });
const send = toolThat("send", () => answers("sent"));
const slow = toolThat("slow", () => gate.promise.then(() => answers("at last")), { readOnlyHint: true });
const calls = (tool: string) => ({ kind: "toolCall" as const, name: `wiki_${tool}`, arguments: {} });

function start(): Promise<RunningWorker> {
  const { services, retryPolicy, stall } = product;
  return startWorker({ services, config: { nodeEnv: "test", workerConcurrency: 4 }, retryPolicy, stall });
}

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
  worker = await start();
});
beforeEach(async () => {
  gate = Promise.withResolvers();
  server = await startMcpServer({ tools: [find, send, slow] });
});
afterEach(async () => {
  gate.resolve();
  await server.stop();
  await product.expectSound();
});
afterAll(async () => {
  await worker.stop();
  await product.stop();
  await egress.close();
});

/** A chat with an agent that has the server's tools. */
async function wikiChat(): Promise<{ chat: Chat; toolkitId: string }> {
  const chat = await product.chat({ toolkits: [] });
  const { id } = await installToolkit(chat.staff, deps, { kind: "mcp", name: "wiki", settings: { url: server.url } });
  const { actor } = chat.visitor;
  if (actor.kind !== "visitor") throw new Error("not a visitor");
  const toolkits = [{ toolkit: id, tools: { send: "approve" as const }, defaultPolicy: "auto" as const, settings: {} }];
  await updateAgent(chat.staff, { agentId: actor.agentId, config: { toolkits } });
  await publishAgent(chat.staff, actor.agentId);
  // Asking for the list was a session too.
  await noSessions("of the installation");
  return { chat, toolkitId: id };
}

const noSessions = (what: string) =>
  waitFor(() => server.sessions().length === 0, { describe: `no open session ${what}`, timeoutMs: 5_000 });

test.each([
  ["is completed", [{ steps: [calls("find")] }, { steps: [says("Done.")] }], "completed"],
  ["waits for a person", [{ steps: [calls("find"), calls("send")] }], "waiting"],
  ["fails", [{ steps: [calls("find")] }, modelFaults.badKey], "failed"],
] as const)("the sessions of a run that %s end with it", async (_, [first, ...others], status) => {
  const { chat } = await wikiChat();
  const run = await chat.answered(say("Use it", first, ...others));
  expect(run).toMatchObject({ status });
  expect(server.ledger).toMatchObject([{ tool: "find" }]);
  await noSessions("of the run");
  if (status !== "waiting") return;
  expect(await chat.decide(run, "approve")).toMatchObject({ status: "completed" });
  expect(server.ledger).toMatchObject([{ tool: "find" }, { tool: "send" }]);
  await noSessions("of the run that went on");
});

test("the sessions of a run that is cancelled end with it", async () => {
  const { chat } = await wikiChat();
  const { id } = await chat.ask(say("Use it", { steps: [calls("slow")] }));
  await waitFor(() => server.ledger.length === 1, { describe: "the call" });
  expect(server.sessions()).toHaveLength(1);
  await chat.cancel(id);
  await noSessions("of the cancelled run");
});

test("the sessions of a run that is handed over end here, and the next worker has its own", async () => {
  const { chat } = await wikiChat();
  const { id } = await chat.ask(say("Use it", { steps: [calls("slow")] }, { steps: [says("Done.")] }));
  await waitFor(() => server.ledger.length === 1, { describe: "the call" });
  await worker.stop({ drainMs: 0 });
  await noSessions("of the worker that stopped");
  worker = await start();
  await waitFor(() => server.ledger.length === 2, { describe: "the call of the next worker" });
  gate.resolve();
  expect(await chat.ended(id)).toMatchObject({ status: "completed" });
  await noSessions("of the next worker");
});

test("a server that announces other tools marks the toolkit; what is published keeps what it pinned", async () => {
  const { chat, toolkitId } = await wikiChat();
  expect(await getToolkit(chat.staff, toolkitId)).toMatchObject({ revision: 1, toolsChangedAt: null });
  const run = await chat.ask(say("Use it", { steps: [calls("slow")] }, { steps: [says("Done.")] }));
  // The stream for what is said unasked is opened beside the call.
  await waitFor(() => server.ledger.length === 1 && server.connections() >= 2, { describe: "the call and the stream" });
  await server.setTools([find, toolThat("publish", () => answers("published"))]);
  const marked = await waitFor(
    async () => {
      const toolkit = await getToolkit(chat.staff, toolkitId);
      return toolkit.toolsChangedAt === null ? null : toolkit;
    },
    { describe: "the mark" },
  );
  expect(marked).toMatchObject({ revision: 1, toolCount: 3 });
  gate.resolve();
  expect(await chat.ended(run.id)).toMatchObject({ status: "completed" });

  const refreshed = await changeToolkit(chat.staff, deps, { toolkitId }, "toolkit.refreshed");
  expect(refreshed).toMatchObject({ revision: 2, toolCount: 2, toolsChangedAt: null });
  expect(
    await chat.answered(say("And now?", { steps: [calls("slow")] }, { steps: [says("It is gone.")] })),
  ).toMatchObject({
    status: "completed",
  });
  const offered = chat.requests("And now?")[0]?.body.tools?.map((tool) => tool.function.name);
  expect(offered).toEqual(["wiki_find", "wiki_send", "wiki_slow"]);
  // What an older revision names is gone, and the latest knows it: there is nothing to refresh.
  expect(await getToolkit(chat.staff, toolkitId)).toMatchObject({ revision: 2, toolsChangedAt: null });
});

test("a tool that is gone marks the toolkit that still has it", async () => {
  const { chat, toolkitId } = await wikiChat();
  await server.setTools([send]);
  await chat.answered(say("Use it", { steps: [calls("find")] }, { steps: [says("It is gone.")] }));
  await waitFor(async () => (await getToolkit(chat.staff, toolkitId)).toolsChangedAt !== null, {
    describe: "the mark",
  });
  const { body } = chat.requests("Use it").at(-1) ?? {};
  expect(JSON.stringify(body?.messages)).toContain("Unknown tool");
});

test("what is said while the toolkit is asked anew still holds afterwards", async () => {
  const { chat, toolkitId } = await wikiChat();
  const values = [uuidOf(toolkitId)];
  await product.db.query("update toolkits set tools_changed_at = now() - interval '1 hour' where id = $1", values);
  const client = await product.db.connect();
  await client.query("begin");
  await client.query("select 1 from toolkits where id = $1 for update", values);
  const before = server.heard.filter((method) => method === "tools/list").length;
  const changing = changeToolkit(chat.staff, deps, { toolkitId }, "toolkit.refreshed");
  await waitFor(() => server.heard.filter((method) => method === "tools/list").length > before, {
    describe: "the server to be asked",
  });
  await client.query("update toolkits set tools_changed_at = now() where id = $1", values);
  await client.query("commit");
  client.release();
  expect((await changing).toolsChangedAt).not.toBeNull();
  expect(await changeToolkit(chat.staff, deps, { toolkitId }, "toolkit.refreshed")).toMatchObject({
    toolsChangedAt: null,
  });
});
