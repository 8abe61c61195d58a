import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { sendMessage } from "@agent-engine/core/conversations/send-message.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { createTestTenant, openTestServices, type TestServices } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker } from "./main.ts";

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
  const { run } = await sendMessage(ctx, { conversationId, clientMessageId: "m", text });
  await waitFor(async () => (await getRun(ctx, run.id)).status === "running", { describe: "the run to start" });
  await redis.kill();
  await waitFor(() => !services.bus.isHealthy(), { describe: "the loss to be noticed" });

  const stopping = performance.now();
  await worker.stop({ drainMs: 300 });
  expect(performance.now() - stopping).toBeLessThan(1_500);
  const { rows } = await owner.query("select status, worker_id, attempt from runs where id = $1", [uuidOf(run.id)]);
  expect(rows).toEqual([{ status: "running", worker_id: null, attempt: 0 }]);
  expect((await owner.query("select id from workers")).rows).toEqual([]);
});
