import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import type { ModelStep } from "@agent-engine/testing/model-script.ts";
import { createTestDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { InterruptReason } from "@agent-engine/protocol/events.ts";
import type { Agent, Run, Submission } from "@agent-engine/protocol/resources.ts";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { apiAt, getRun, type Api } from "./api-client.ts";
import { jsonOf, readDocument } from "./documented.ts";

let dataDir: string;
let database: TestDatabase;
let model: ModelServer;
let shop: ToolServer;
let product: RunningProcess;
let staff: Api;
let agentId: string;

/** The document's example, acting on a shop of ours. */
function documentedToolkits(baseUrl: string): unknown {
  const [example] = jsonOf(readDocument("docs/toolkits.md")) as [{ toolkits: { settings: { baseUrl: string } }[] }];
  for (const { settings } of example.toolkits) settings.baseUrl = baseUrl;
  return example.toolkits;
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "agent-engine-test-toolkits-"));
  database = await createTestDatabase();
  model = await startModelServer({ text: "All done." });
  shop = await startToolServer();
  product = startProcess({
    name: "npm start",
    args: ["scripts/start.ts"],
    env: {
      DATABASE_URL: database.ownerUrl,
      DATA_DIR: dataDir,
      OPENAI_BASE_URL: model.url,
      PORT: "0",
      DEMO_PORT: "0",
    },
  });
  await product.waitForOutput(/Ctrl-C stops everything/);
  const keys = JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as { apiUrl: string; secretKey: string };
  staff = apiAt(keys.apiUrl, keys.secretKey);
  const agent = await staff.request<Agent>("POST", "/v1/agents", {
    name: "Shop assistant",
    toolkits: documentedToolkits(shop.url),
  });
  agentId = agent.id;
  await staff.request("POST", `/v1/agents/${agentId}/publish`);
});

afterEach(() => void shop.ledger.splice(0));

afterAll(async () => {
  await product?.stop();
  await shop?.stop();
  await model?.stop();
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

/** A run whose model asks for this call first. */
async function callTool(name: string, args: unknown): Promise<string> {
  const call: ModelStep = { kind: "toolCall", name, arguments: args };
  const input = say("Please", { steps: [call] });
  const { run } = await staff.request<Submission>("POST", "/v1/runs", { agentId, input });
  return run.id;
}

async function untilRun(runId: string, what: string, isThere: (run: Run) => boolean): Promise<Run> {
  const look = async () => {
    const run = await getRun(staff, runId);
    return isThere(run) ? run : null;
  };
  return waitFor(look, { describe: `the run ${what}`, timeoutMs: 20_000 });
}

const untilCompleted = (runId: string) => untilRun(runId, "to complete", ({ status }) => status === "completed");

const untilWaitsFor = (reason: InterruptReason, runId: string) =>
  untilRun(runId, `to wait for ${reason}`, ({ interrupts }) => interrupts[0]?.reason === reason);

const decide = (run: Run, decision: string, payload?: unknown) =>
  staff.request("POST", `/v1/runs/${run.id}/resume`, { interruptId: run.interrupts[0]?.id, decision, payload });

const calls = () => shop.ledger.map(({ method, path, body }) => ({ method, path, body }));

describe("the toolkit of docs/toolkits.md", () => {
  test("looks an order up at once, without an idempotency key", async () => {
    await untilCompleted(await callTool("shop_find_order", { orderId: "A 17", withItems: true }));
    expect(calls()).toEqual([{ method: "GET", path: "/orders/A%2017?withItems=true", body: null }]);
    expect(shop.ledger[0]?.key).toBeNull();
  });

  test("repeats an idempotent call that broke, under the same key", async () => {
    shop.enqueueFaults({ kind: "cut", when: "after" });
    await untilCompleted(await callTool("shop_change_address", { orderId: "17", street: "Torget 1", city: "Bergen" }));
    const call = { method: "PUT", path: "/orders/17/address", body: { street: "Torget 1", city: "Bergen" } };
    expect(calls()).toEqual([call, call]);
    const [key] = shop.ledger.map((call) => call.key);
    expect(key).toMatch(/^[0-9a-f]{64}$/);
    expect(shop.effectsOf(key ?? "")).toBe(1);
  });

  test("asks before it requests a return, and makes none when a person declines", async () => {
    const run = await untilWaitsFor("approval", await callTool("shop_request_return", { orderId: "17" }));
    expect(run).toMatchObject({ status: "waiting", interrupts: [{ metadata: { arguments: { orderId: "17" } } }] });
    expect(shop.ledger).toEqual([]);
    await decide(run, "decline", { reason: "It is worn out." });
    await untilCompleted(run.id);
    expect(shop.ledger).toEqual([]);
    expect(JSON.stringify(model.requests.at(-1)?.body)).toContain("It is worn out.");
  });

  test("never repeats a write whose outcome nobody knows, unless a person says so", async () => {
    shop.enqueueFaults({ kind: "cut", when: "after" });
    const waiting = await untilWaitsFor("approval", await callTool("shop_request_return", { orderId: "17" }));
    await decide(waiting, "approve");
    const unknown = await untilWaitsFor("operator", waiting.id);
    expect(unknown.interrupts[0]?.metadata).toMatchObject({ outcome: "unknown", attempts: 1 });
    expect(calls()).toEqual([{ method: "POST", path: "/returns", body: { orderId: "17" } }]);
    await decide(unknown, "retry");
    await untilCompleted(waiting.id);
    expect(calls()).toHaveLength(2);
  });

  test("believes a person who says that a write was done", async () => {
    shop.enqueueFaults({ kind: "cut", when: "after" });
    const waiting = await untilWaitsFor("approval", await callTool("shop_request_return", { orderId: "17" }));
    await decide(waiting, "approve");
    const unknown = await untilWaitsFor("operator", waiting.id);
    await decide(unknown, "done", { content: "Return 99 is registered." });
    await untilCompleted(waiting.id);
    expect(calls()).toHaveLength(1);
    expect(JSON.stringify(model.requests.at(-1)?.body)).toContain("Return 99 is registered.");
  });
});
