import { afterAll, beforeAll, expect, test } from "vitest";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import { conversationState } from "@agent-engine/core/events/conversation-state.ts";
import { readEvents } from "@agent-engine/core/events/read-events.ts";
import { createDocument } from "@agent-engine/core/knowledge/create-document.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import {
  createTestTenant,
  openTestServices,
  type TestServices,
  type TestTenant,
} from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";

let services: TestServices;
let worker: RunningWorker;
let tenant: TestTenant;

beforeAll(async () => {
  services = await openTestServices();
  worker = await startWorker({ services, config: { nodeEnv: "test", workerConcurrency: 8 } });
  tenant = await createTestTenant(services);
  await createDocument(tenant.ctx, {
    title: "Shipping",
    url: "https://shop.example/shipping",
    text: "Standard delivery takes three to five working days and costs 4.90 euros.",
  });
});

afterAll(async () => {
  await worker.stop();
  await services.close();
});

test("a message is answered from the documents, with a citation, as one gap-free log", async () => {
  const { ctx, agentId } = tenant;
  const conversation = await createConversation(ctx, { agentId });
  const { run } = await submit(ctx, {
    conversationId: conversation.id,
    clientMessageId: "m1",
    text: "How long does delivery take?",
  });
  await waitFor(async () => (await getRun(ctx, run.id)).finishedAt !== null, { describe: "the run to end" });
  expect(await getRun(ctx, run.id)).toMatchObject({ status: "completed", finishReason: "stop" });

  const events = await readEvents(ctx, { conversationId: conversation.id, after: 0, limit: 1_000 });
  expect(
    events.flatMap((e) => Array.from({ length: e.seq - (e.from ?? e.seq) + 1 }, (_, i) => (e.from ?? e.seq) + i)),
  ).toEqual(Array.from({ length: events.at(-1)?.seq ?? 0 }, (_, i) => i + 1));
  const state = await conversationState(ctx, { conversationId: conversation.id }, "all");
  expect(state.messages.map((message) => message.role)).toEqual(["user", "assistant"]);
  expect(state.messages[1]?.text).toContain("three to five working days");
  expect(state.messages[1]?.citations).toMatchObject([{ title: "Shipping", url: "https://shop.example/shipping" }]);
});
