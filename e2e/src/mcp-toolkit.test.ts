/** A server that speaks MCP as a tenant's toolkit: installed over the API, pinned by an agent, called in runs of the whole product. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import type { Agent, Page, Run, Submission } from "@agent-engine/protocol/resources.ts";
import type { InstalledToolkit, Tool, ToolTest } from "@agent-engine/protocol/toolkits.ts";
import { EVERYTHING_SERVER, startMcpServer, type McpTestServer } from "@agent-engine/testing/mcp-server.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { createTestDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apiAt, getRun, type Api } from "./api-client.ts";

let dataDir: string;
let database: TestDatabase;
let model: ModelServer;
/** The protocol's own test server, and one of ours that keeps a ledger. */
let everything: RunningProcess;
let everythingUrl: string;
let shop: McpTestServer;
let env: Record<string, string>;
let product: RunningProcess;
let staff: Api;

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "agent-engine-test-mcp-"));
  database = await createTestDatabase();
  model = await startModelServer({ text: "All done." });
  const [port, mcpPort] = [await freePort(), await freePort()];
  everything = startProcess({
    name: "server-everything",
    args: [EVERYTHING_SERVER, "streamableHttp"],
    env: { PORT: String(mcpPort) },
  });
  everythingUrl = `http://127.0.0.1:${mcpPort}/mcp`;
  await everything.waitForOutput(/on port/);
  const inputSchema = { type: "object", properties: { sku: { type: "string" } }, required: ["sku"] };
  const sell = (args: Record<string, unknown>) => ({
    content: [{ type: "text", text: `Sold ${String(args["sku"])}` }],
  });
  shop = await startMcpServer({ tools: [{ listed: { name: "sell", description: "Sells", inputSchema }, run: sell }] });
  const { ownerUrl } = database;
  env = { DATABASE_URL: ownerUrl, DATA_DIR: dataDir, OPENAI_BASE_URL: model.url, PORT: String(port), DEMO_PORT: "0" };
  await start();
  const keys = JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as { apiUrl: string; secretKey: string };
  staff = apiAt(keys.apiUrl, keys.secretKey);
});
afterAll(async () => {
  await product?.stop();
  await shop?.stop();
  await everything?.stop();
  await model?.stop();
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function start(): Promise<void> {
  product = startProcess({ name: "npm start", args: ["scripts/start.ts"], env });
  await product.waitForOutput(/Ctrl-C stops everything/);
}

const install = (name: string, url: string) =>
  staff.request<InstalledToolkit>("POST", "/v1/toolkits", { kind: "mcp", name, settings: { url } });

/** An agent with this toolkit, published. */
async function agentWith(toolkit: string, choice: Record<string, unknown> = {}): Promise<string> {
  const toolkits = [{ toolkit, ...choice }];
  const { id } = await staff.request<Agent>("POST", "/v1/agents", {
    name: "Assistant",
    toolkits,
    knowledge: { enabled: false },
  });
  await staff.request("POST", `/v1/agents/${id}/publish`);
  return id;
}

/** A run whose model calls these tools, and then says what it has read. */
async function ask(agentId: string, text: string, ...calls: [name: string, args: unknown][]): Promise<Run> {
  const steps = calls.map(([name, args]) => ({ kind: "toolCall" as const, name, arguments: args }));
  const input = say(text, { steps }, { steps: [{ kind: "text", text: "Done." }] });
  return (await staff.request<Submission>("POST", "/v1/runs", { agentId, input })).run;
}

const until = (runId: string, what: string, isThere: (run: Run) => boolean) =>
  waitFor(
    async () => {
      const run = await getRun(staff, runId);
      return isThere(run) ? run : null;
    },
    { describe: `the run ${what}`, timeoutMs: 60_000 },
  );
const completed = (runId: string) => until(runId, "to complete", ({ status }) => status === "completed");
const waits = (runId: string, reason: string) =>
  until(runId, `to wait for ${reason}`, ({ interrupts }) => interrupts[0]?.reason === reason);
const decide = (run: Run, decision: string) =>
  staff.request("POST", `/v1/runs/${run.id}/resume`, { interruptId: run.interrupts[0]?.id, decision });
const requestsAbout = (text: string) =>
  model.requests.map(({ body }) => body).filter(({ messages }) => JSON.stringify(messages).includes(text));
const readAbout = (text: string) =>
  JSON.stringify(
    requestsAbout(text)
      .at(-1)
      ?.messages.filter(({ role }) => role === "tool"),
  );

test("the protocol's own test server is installed, looked at, tried, and called as its policies say", async () => {
  const toolkit = await install("all", everythingUrl);
  expect(toolkit).toMatchObject({ kind: "mcp", name: "all", revision: 1 });
  const { items } = await staff.request<Page<Tool>>("GET", `/v1/tools?toolkitId=${toolkit.id}&limit=100`);
  const tool = (name: string) => items.find((each) => each.name === name);
  expect(tool("all_get-sum")).toMatchObject({ parameters: { required: ["a", "b"] } });
  const tried = await staff.request<ToolTest>("POST", `/v1/tools/${tool("all_get-sum")?.id}/test`, {
    arguments: { a: 2, b: 3 },
  });
  expect(JSON.stringify(tried)).toContain("5");

  const agentId = await agentWith(toolkit.id, { tools: { echo: "approve", "get-sum": "auto" }, defaultPolicy: "off" });
  const run = await ask(
    agentId,
    "Add and say",
    ["all_get-sum", { a: 20, b: 22 }],
    ["all_echo", { message: "hello there" }],
  );
  const waiting = await waits(run.id, "approval");
  expect(waiting.interrupts).toMatchObject([{ metadata: { tool: "all_echo", arguments: { message: "hello there" } } }]);
  await decide(waiting, "approve");
  await completed(run.id);
  const [first] = requestsAbout("Add and say");
  expect(first?.tools?.map((each) => each.function.name).toSorted()).toEqual(["all_echo", "all_get-sum"]);
  expect(readAbout("Add and say")).toContain("42");
  expect(readAbout("Add and say")).toContain("Echo: hello there");
});

test("a write that everything died of is asked about, and the server's ledger shows it once", async () => {
  const { id } = await install("shop", shop.url);
  const agentId = await agentWith(id);
  shop.enqueueFaults({ kind: "hang", when: "after" });
  const run = await ask(agentId, "Sell me a hat", ["shop_sell", { sku: "hat" }]);
  await waitFor(() => shop.ledger.some(({ isApplied }) => isApplied), { describe: "the call", timeoutMs: 20_000 });
  product.signal("SIGKILL");
  await product.exited;
  await start();
  const waiting = await waits(run.id, "operator");
  expect(waiting.interrupts).toMatchObject([{ metadata: { tool: "shop_sell", outcome: "unknown" } }]);
  await decide(waiting, "done");
  await completed(run.id);
  expect(shop.ledger.map((call) => [call.tool, call.arguments])).toEqual([["sell", { sku: "hat" }]]);
  expect(shop.ledger[0]?.key).toMatch(/^[0-9a-f]{64}$/);
});
