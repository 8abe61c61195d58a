/** A worker with a single place and a tool that never answers: its deadline, and nothing else, gives the place back. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;
let worker: RunningWorker;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
  const { services, retryPolicy, stall } = product;
  const config = { nodeEnv: "test" as const, workerConcurrency: 1 };
  worker = await startWorker({ services, config, retryPolicy, stall });
});
afterEach(() => product.expectSound());
afterAll(async () => {
  await worker.stop();
  await product.stop();
});

async function timeOf(chat: Chat, runId: string, type: "RUN_STARTED" | "RUN_FINISHED"): Promise<number> {
  const found = (await chat.log()).find(({ runId: of, event }) => of === runId && event.type === type);
  return Date.parse(found?.at ?? "");
}

test.each([
  { name: "look", attempts: 3, outcome: "not_done" },
  { name: "send", attempts: 1, outcome: "unknown" },
] as const)("a tool that hangs is cut, and the next run has its place: $name", async ({ name, attempts, outcome }) => {
  const chat = await product.chat();
  const next = await product.chat();
  product.tools.enqueueFaults(
    ...Array.from({ length: attempts }, () => ({ kind: "hang" as const, when: "after" as const })),
  );
  const value = `hanging-${name}`;
  const { id } = await chat.ask(say("Wait for it", { steps: [calls(name, value)] }));
  const made = () => product.tools.ledger.filter((call) => JSON.stringify(call).includes(value));
  await waitFor(() => made().length > 0, { describe: "the call to hang" });
  const behind = await next.answered(say("Me too", { steps: [says("Here you are.")] }));

  expect(behind).toMatchObject({ status: "completed" });
  const run = await chat.settled(id);
  expect(run).toMatchObject({
    status: "waiting",
    interrupts: [{ reason: "operator", metadata: { code: "timeout", outcome, attempts } }],
  });
  expect(made()).toHaveLength(attempts);
  // There was one place only.
  expect(await timeOf(next, behind.id, "RUN_STARTED")).toBeGreaterThanOrEqual(await timeOf(chat, id, "RUN_FINISHED"));
  await chat.decide(run, "abort");
});
