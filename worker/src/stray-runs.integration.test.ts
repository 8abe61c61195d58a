import { afterAll, beforeAll, expect, test } from "vitest";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import type { Database } from "@agent-engine/core/db/database.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import { cancelRun } from "@agent-engine/core/runs/cancel-run.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { createTestTenant, openTestServices, type TestServices } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker } from "./main.ts";

let services: TestServices;
let models: ModelServer;
beforeAll(async () => {
  models = await startModelServer();
  services = await openTestServices({ models: { openaiBaseUrl: models.url } });
});
afterAll(async () => {
  await services.close();
  await models.stop();
});

test("a claim whose answer was lost is found and executed, though its worker lives on", async () => {
  let lost = 0;
  const query: Database["query"] = async (statement, values) => {
    const rows = await services.db.query(statement, values);
    if (statement.name !== "claim_run" || rows.length === 0 || lost > 0) return rows;
    lost++;
    throw new Error("Connection terminated unexpectedly");
  };
  const worker = await startWorker({
    services: { ...services, db: { ...services.db, query } },
    config: { nodeEnv: "test", workerConcurrency: 4 },
  });
  const { ctx, agentId } = await createTestTenant(services);
  const { id: conversationId } = await createConversation(ctx, { agentId });
  const { run } = await submit(ctx, { conversationId, clientMessageId: "m", text: "Hello" });
  await waitFor(async () => (await getRun(ctx, run.id)).finishedAt !== null, { describe: "the run to end" });
  expect(lost).toBe(1);
  expect(await getRun(ctx, run.id)).toMatchObject({ status: "completed", attempt: 2 });
  await worker.stop();
});

test("a cancelled run hangs up on a silent model within seconds, though the bus tells nobody", async () => {
  const mute = { publish: () => {}, subscribe: async () => () => {} };
  const worker = await startWorker({
    services: { ...services, bus: { ...services.bus, control: mute } },
    config: { nodeEnv: "test", workerConcurrency: 4 },
  });
  const { ctx, agentId } = await createTestTenant(services);
  const { id: conversationId } = await createConversation(ctx, { agentId });
  const text = say("Well", { steps: [{ kind: "tokens", count: 3 }, { kind: "stall" }] });
  const { run } = await submit(ctx, { conversationId, clientMessageId: "m", text });
  const request = await waitFor(() => models.requests.at(-1), { describe: "the model to be asked" });
  await waitFor(
    async () => (await conversationState(ctx, { conversationId }, "all")).messages.at(-1)?.text.includes("token2"),
    {
      describe: "what it said before it fell silent",
    },
  );
  // By whoever has a bus: the worker's own is mute.
  await cancelRun({ ...ctx, services: { ...services, bus: { ...services.bus, control: mute } } }, run.id);
  let hasEnded = false;
  void request.ended.then(() => (hasEnded = true));
  await waitFor(() => hasEnded, { describe: "the worker to hang up", timeoutMs: 3_000 });
  expect(request.end).not.toBe("complete");
  await waitFor(() => worker.activeRuns === 0, { describe: "its place to be free" });
  await worker.stop();
});
