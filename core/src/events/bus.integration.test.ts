import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { freePort } from "../dev/free-port.ts";
import { newId } from "../ids.ts";
import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";
import { createMemoryBus } from "./memory-bus.ts";
import { createRedisBus } from "./redis-bus.ts";

const log = pino({ level: "silent" });
let redis: TestRedis;
let buses: EventBus[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(async () => {
  await Promise.all(buses.map((bus) => bus.close()));
  buses = [];
});

async function onRedis(): Promise<EventBus> {
  const bus = createRedisBus(redis.url, log);
  buses.push(bus);
  await waitFor(() => bus.isHealthy(), { describe: "the bus to connect" });
  return bus;
}

function batch(conversationId: string, seq = 1): PublishedBatch {
  const event = { type: "TEXT_MESSAGE_CONTENT" as const, messageId: "msg_1", delta: "a\u0000\ud800 👋" };
  const envelope = { seq, conversationId, runId: null, at: "t", correlationId: "c", audience: "staff" as const, event };
  return { conversationId, tenantId: newId("tenant"), events: [envelope] };
}

const kinds: [string, () => Promise<[EventBus, EventBus]>][] = [
  [
    "in memory",
    async () => {
      const bus = createMemoryBus();
      return [bus, bus];
    },
  ],
  ["on Redis, between two processes", async () => [await onRedis(), await onRedis()]],
];

describe.each(kinds)("%s", (_name, open) => {
  test("a batch reaches everyone who listens to its conversation, whole and in order, and nobody else", async () => {
    const [publishing, listening] = await open();
    const [here, there] = [newId("conv"), newId("conv")];
    const heard: PublishedBatch[][] = [[], [], []];
    await listening.subscribe(here, (one) => heard[0]?.push(one));
    await listening.subscribe(here, (one) => heard[1]?.push(one));
    await listening.subscribe(there, (one) => heard[2]?.push(one));
    const sent = Array.from({ length: 20 }, (_, index) => batch(here, index + 1));
    for (const one of sent) publishing.publish(one);
    await waitFor(() => heard[1]?.length === 20, { describe: "all batches" });
    expect(heard).toEqual([sent, sent, []]);
  });

  test("who left hears nothing more; who stays, or comes again, does", async () => {
    const [publishing, listening] = await open();
    const conversationId = newId("conv");
    const [left, stayed]: number[][] = [[], []];
    const leave = await listening.subscribe(conversationId, ({ events }) => left?.push(events[0]?.seq ?? 0));
    const leaveToo = await listening.subscribe(conversationId, ({ events }) => stayed?.push(events[0]?.seq ?? 0));
    leave();
    publishing.publish(batch(conversationId, 1));
    await waitFor(() => stayed?.length === 1, { describe: "the first" });
    leaveToo();
    await listening.subscribe(conversationId, ({ events }) => stayed?.push(events[0]?.seq ?? 0));
    publishing.publish(batch(conversationId, 2));
    await waitFor(() => stayed?.length === 2, { describe: "the second" });
    expect([left, stayed]).toEqual([[], [1, 2]]);
  });

  test("control messages reach everyone who listens", async () => {
    const [publishing, listening] = await open();
    const heard: ControlMessage[] = [];
    const leave = await listening.control.subscribe((message) => heard.push(message));
    const message: ControlMessage = { kind: "run.cancelled", runId: newId("run") };
    publishing.control.publish(message);
    await waitFor(() => heard.length === 1, { describe: "the message" });
    leave();
    publishing.control.publish(message);
    expect(heard).toEqual([message]);
  });
});

test("after Redis was gone, subscriptions are in force again and everyone is told that batches may be missing", async () => {
  const bus = await onRedis();
  const conversationId = newId("conv");
  const [heard, controls]: unknown[][] = [[], []];
  await bus.subscribe(conversationId, (one) => heard?.push(one));
  await bus.control.subscribe((message) => controls?.push(message));
  let reconnects = 0;
  bus.onReconnect(() => reconnects++);
  await redis.kill();
  await waitFor(() => !bus.isHealthy(), { describe: "the bus to notice" });
  // Nothing waits and nothing throws; what is published now is lost.
  bus.publish(batch(conversationId, 1));
  bus.control.publish({ kind: "run.cancelled", runId: newId("run") });
  await redis.restart();
  await waitFor(() => bus.isHealthy(), { describe: "the bus to be back" });
  await waitFor(
    () => {
      bus.publish(batch(conversationId, 2));
      bus.control.publish({ kind: "run.cancelled", runId: newId("run") });
      return (heard?.length ?? 0) > 0 && (controls?.length ?? 0) > 0;
    },
    { describe: "the subscriptions to be in force" },
  );
  expect(reconnects).toBe(1);
});

test("a Redis that was never there makes a bus that is not healthy, and that closes", async () => {
  const bus = createRedisBus(`redis://127.0.0.1:${await freePort()}`, log);
  bus.publish(batch(newId("conv")));
  expect(bus.isHealthy()).toBe(false);
  await bus.close();
});

test("a process starts while Redis is away, says so once, and hears control messages once it is there", async () => {
  const away = await startRedis();
  await away.kill();
  const said: string[] = [];
  const bus = createRedisBus(away.url, pino({ level: "info" }, { write: (line) => said.push(JSON.parse(line).msg) }));
  const heard: ControlMessage[] = [];
  await bus.control.subscribe((message) => heard.push(message));
  expect(bus.isHealthy()).toBe(false);
  expect(said).toEqual(["Redis does not answer; trying again until it does"]);
  await away.restart();
  const message: ControlMessage = { kind: "run.cancelled", runId: newId("run") };
  await waitFor(
    () => {
      bus.control.publish(message);
      return heard.length > 0;
    },
    { describe: "a control message" },
  );
  expect(said.slice(1)).toEqual(["Redis answers again"]);
  await bus.close();
  await away.stop();
});
