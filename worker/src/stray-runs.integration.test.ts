import { afterAll, beforeAll, expect, test } from "vitest";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { sendMessage } from "@agent-engine/core/conversations/send-message.ts";
import type { Database } from "@agent-engine/core/db/database.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { createTestTenant, openTestServices, type TestServices } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker } from "./main.ts";

let services: TestServices;
beforeAll(async () => {
  services = await openTestServices();
});
afterAll(() => services.close());

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
  const { run } = await sendMessage(ctx, { conversationId, clientMessageId: "m", text: "Hello" });
  await waitFor(async () => (await getRun(ctx, run.id)).finishedAt !== null, { describe: "the run to end" });
  expect(lost).toBe(1);
  expect(await getRun(ctx, run.id)).toMatchObject({ status: "completed", attempt: 2 });
  await worker.stop();
});
