import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { listToolkitHealth } from "@agent-engine/core/toolkits/health/read-health.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import type { ToolFault } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startWorker, type RunningWorker } from "./main.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";
import { openWorld } from "./world.ts";

/** Each test says how long what it opens stays open. One run makes three attempts. */
const limits = { failures: 3, openMs: 3_600_000, maxOpenMs: 3_600_000, max: 100 };

let product: Product;
let workers: RunningWorker[];
let start: () => Promise<RunningWorker>;

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
  const { services, retryPolicy, stall } = product;
  start = () =>
    startWorker({
      services,
      config: { nodeEnv: "test", workerConcurrency: 4 },
      retryPolicy,
      world: openWorld(services, { nodeEnv: "test" }, { stall, circuits: limits }),
    });
  workers = [await start(), await start()];
});
afterEach(() => product.expectSound());
afterAll(async () => {
  await stopWorkers();
  await product.stop();
});

const stopWorkers = () => Promise.all(workers.splice(0).map((worker) => worker.stop()));

const down: ToolFault = { kind: "error", when: "before", status: 500 };

async function shopOf(chat: Chat) {
  const { items } = await listToolkitHealth(chat.staff, {}, { limit: 10, cursor: null });
  const shop = items.find(({ name }) => name === "shop");
  if (!shop) throw new Error("the shop was never called");
  return shop;
}

test("what runs on several workers made of their calls is counted, with why attempts failed", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults(
    { kind: "error", when: "before", status: 503 },
    { kind: "error", when: "before", status: 404, body: { error: "no such order 17" } },
  );
  for (const value of ["a", "b"]) {
    expect(
      await chat.answered(say(`Look ${value}`, { steps: [calls("look", value)] }, { steps: [says("Done.")] })),
    ).toMatchObject({ status: "completed" });
  }
  product.tools.enqueueFaults({ kind: "cut", when: "after" });
  const waiting = await chat.answered(say("Send", { steps: [calls("send", "once")] }));
  expect(waiting).toMatchObject({ status: "waiting" });
  expect(await shopOf(chat)).toMatchObject({
    toolkitId: null,
    calls: 3,
    succeeded: 1,
    failed: 2,
    underWay: 0,
    successRate: 1 / 3,
    failures: { unavailable: 1, refused: 1, connection_lost: 1 },
  });
});

test("a Retry-After of more than a minute is honoured: nothing is sent again, and staff read until when", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "rateLimited", retryAfterSeconds: 90 });
  const before = product.tools.ledger.length;
  const waiting = await chat.answered(say("Set", { steps: [calls("set", "limited")] }, { steps: [says("Set.")] }));
  expect(waiting).toMatchObject({
    status: "waiting",
    interrupts: [{ reason: "operator", metadata: { code: "rate_limited", attempts: 1, retryAfterMs: 90_000 } }],
  });
  expect(product.tools.ledger.length - before).toBe(1);
  const { rateLimit, ...health } = await shopOf(chat);
  expect(health).toMatchObject({ calls: 1, failed: 1, failures: { rate_limited: 1 }, circuits: [] });
  expect(rateLimit).toMatchObject({ isLimited: true, by: "retry-after" });
  const asked = Date.parse(String(waiting.interrupts[0]?.metadata?.retryAt));
  expect(Math.abs(Date.parse(rateLimit?.until ?? "") - asked)).toBeLessThan(5_000);

  // A person may ask all the same.
  expect(await chat.decide(waiting, "retry")).toMatchObject({ status: "completed" });
  expect(await shopOf(chat)).toMatchObject({ calls: 1, succeeded: 1, failed: 0, failures: { rate_limited: 1 } });
});

test("while a Retry-After lasts the tenant's other runs send nothing either; another tenant's do", async () => {
  const chat = await product.chat();
  await workers.pop()?.stop();
  product.tools.enqueueFaults({ kind: "rateLimited", retryAfterSeconds: 90 });
  const first = await chat.answered(say("Set", { steps: [calls("set", "first")] }));
  expect(first).toMatchObject({ status: "waiting" });
  const second = await chat.answered(say("Set again", { steps: [calls("set", "second")] }));
  expect(second).toMatchObject({
    status: "waiting",
    interrupts: [{ metadata: { code: "rate_limited", attempts: 0, outcome: "not_done" } }],
  });
  const asked = Date.parse(String(second.interrupts[0]?.metadata?.retryAt));
  expect(asked).toBeGreaterThan(Date.now() + 60_000);
  expect(JSON.stringify(product.tools.ledger)).not.toContain('"second"');
  const other = await product.chat();
  expect(
    await other.answered(say("Set", { steps: [calls("set", "others")] }, { steps: [says("Set.")] })),
  ).toMatchObject({ status: "completed" });
  workers.push(await start());
});

test("a host that keeps failing shows as an open circuit, for its tenant alone, until it answers again", async () => {
  const chat = await product.chat();
  product.tools.enqueueFaults(down, down, down);
  const first = await chat.answered(say("Look", { steps: [calls("look", "a")] }, { steps: [says("Seen.")] }));
  expect(first).toMatchObject({ status: "waiting" });
  const { circuits } = await waitFor(
    async () => {
      const health = await shopOf(chat);
      return health.circuits.length > 0 ? health : null;
    },
    { describe: "an open circuit" },
  );
  expect(circuits).toMatchObject([
    { host: new URL(product.tools.url).host, failures: 3, code: "server_error", workers: 1 },
  ]);
  expect(await shopOf(chat)).toMatchObject({ calls: 1, failed: 1, failures: { server_error: 3 } });

  limits.openMs = 1;
  const other = await product.chat();
  product.tools.enqueueFaults(down, down, down);
  const opened = await other.answered(say("Look", { steps: [calls("look", "b")] }, { steps: [says("Seen.")] }));
  await waitFor(async () => (await shopOf(other)).circuits.length > 0, { describe: "the other's open circuit" });
  // Whichever worker goes on with it: the one whose circuit is open tries, the other one has none.
  let settled = await other.decide(opened, "retry");
  for (let i = 0; i < 20 && (await shopOf(other)).circuits.length > 0; i++) {
    settled = await other.answered(say(`Again ${i}`, { steps: [calls("look", "c")] }, { steps: [says("Seen.")] }));
  }
  expect(settled).toMatchObject({ status: "completed" });
  await waitFor(async () => (await shopOf(other)).circuits.length === 0, { describe: "the closed circuit" });
  expect((await shopOf(chat)).circuits).toHaveLength(1);
});

test("a worker that leaves takes its circuits with it", async () => {
  limits.openMs = 3_600_000;
  const chat = await product.chat();
  product.tools.enqueueFaults(down, down, down);
  await chat.answered(say("Look", { steps: [calls("look", "a")] }));
  await waitFor(async () => (await shopOf(chat)).circuits.length === 1, { describe: "an open circuit" });
  await stopWorkers();
  expect((await shopOf(chat)).circuits).toEqual([]);
});
