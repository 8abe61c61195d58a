import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import { openDatabase } from "@agent-engine/core/db/database.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startFaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { createTestTenant, openTestServices, type TestServices } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { BoundTool } from "./engine/bound-tool.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { openWorld } from "./world.ts";

let redis: TestRedis;
let models: ModelServer;
let services: TestServices;
let owner: pg.Pool;

beforeAll(async () => {
  redis = await startRedis();
  models = await startModelServer();
  services = await openTestServices({ redisUrl: redis.url, models: { openaiBaseUrl: models.url } });
  owner = new pg.Pool({ connectionString: services.ownerUrl, max: 1 });
  owner.on("error", () => {});
});
afterAll(async () => {
  await owner.end();
  await services.close();
  await Promise.all([models.stop(), redis.stop()]);
});

test("a worker that stops while Redis is gone still gives its runs back, in good order and in time", async () => {
  const { ctx, agentId } = await createTestTenant(services);
  const worker = await startWorker({ services, config: { nodeEnv: "test", workerConcurrency: 4 } });
  const { id: conversationId } = await createConversation(ctx, { agentId });
  const text = say("Tell", { gapMs: 100, steps: [{ kind: "tokens", count: 1_000 }] });
  const { run } = await submit(ctx, { conversationId, clientMessageId: "m", text });
  await waitFor(async () => (await getRun(ctx, run.id)).status === "running", { describe: "the run to start" });
  await redis.kill();
  await waitFor(() => !services.bus.isHealthy(), { describe: "the loss to be noticed" });

  const stopping = performance.now();
  await worker.stop({ drainMs: 300 });
  expect(performance.now() - stopping).toBeLessThan(1_500);
  const { rows } = await owner.query("select status, worker_id, attempt from runs where id = $1", [uuidOf(run.id)]);
  expect(rows).toEqual([{ status: "running", worker_id: null, attempt: 0 }]);
  expect((await owner.query("select id from workers")).rows).toEqual([]);
  await redis.restart();
});

test("a worker that stops with a call that hears no signal leaves in time and in good order: the next one asks a person", async () => {
  const tenant = await createTestTenant(services, { knowledge: { enabled: false, maxResults: 5 } });
  const { ctx, agentId } = tenant;
  const deafWorld = () => ({
    ...openWorld(services, { nodeEnv: "test" }),
    toolsOf: async () => ({ tools: [deaf], close: () => {} }),
  });
  const began = Promise.withResolvers<void>();
  const deaf: BoundTool = {
    description: {
      name: "pay",
      description: "Pays",
      parameters: { type: "object", properties: {} },
      effect: "write",
      scopes: [],
      connection: "none",
      visibility: { arguments: false, results: false },
    },
    toolkit: "shop",
    host: null,
    policy: "auto",
    deadlineMs: 60_000,
    checkArguments: () => null,
    call() {
      began.resolve();
      return new Promise(() => {});
    },
    classifyFailure: () => ({
      kind: "unknown_outcome",
      code: "failed",
      detail: "It failed.",
      requestId: null,
      retryAfterMs: null,
    }),
  };
  const config = { nodeEnv: "test" as const, workerConcurrency: 4 };
  const worker = await startWorker({ services, config, world: deafWorld() });
  const { id: conversationId } = await createConversation(ctx, { agentId });
  const text = say("Pay", { steps: [{ kind: "toolCall", name: "pay", arguments: {} }] });
  const { run } = await submit(ctx, { conversationId, clientMessageId: "m", text });
  await began.promise;

  await stopsInTime(worker);
  expect((await owner.query("select id from workers")).rows).toEqual([]);
  const next = await startWorker({ services, config, world: deafWorld() });
  await waitFor(async () => (await getRun(ctx, run.id)).status === "waiting", { describe: "a person to be asked" });
  const { rows } = await owner.query("select crashes from runs where id = $1", [uuidOf(run.id)]);
  expect(rows).toEqual([{ crashes: 0 }]);
  await next.stop();
});

test("a worker that stops while Postgres is behind a dead line leaves in time; its runs go on elsewhere", async () => {
  const { ctx, agentId } = await createTestTenant(services);
  const url = new URL(services.db.url);
  const proxy = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } });
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  const db = openDatabase({ url: url.href, log: services.log });
  const config = { nodeEnv: "test" as const, workerConcurrency: 4 };
  const worker = await startWorker({ services: { ...services, db }, config });
  const { id: conversationId } = await createConversation(ctx, { agentId });
  const text = say("Tell", { gapMs: 20, steps: [{ kind: "tokens", count: 200 }] });
  const { run } = await submit(ctx, { conversationId, clientMessageId: "m", text });
  await waitFor(async () => (await getRun(ctx, run.id)).status === "running", { describe: "the run to start" });
  await proxy.setMode({ kind: "blackhole" });

  await stopsInTime(worker);
  const next = await startWorker({ services, config });
  await waitFor(async () => (await getRun(ctx, run.id)).status === "completed", {
    describe: "the run to end elsewhere",
    timeoutMs: 20_000,
  });
  await next.stop();
  await proxy.stop();
  await db.close();
});

/** What a supervisor allows before it kills. */
async function stopsInTime(worker: RunningWorker): Promise<void> {
  let isStopped = false;
  void worker.stop().then(() => (isStopped = true));
  await waitFor(() => isStopped, { describe: "the worker to stop", timeoutMs: 10_000 });
}
