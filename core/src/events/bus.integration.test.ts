import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { ConversationChange } from "@agent-engine/protocol/realtime.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { freePort } from "../dev/free-port.ts";
import { newId } from "../ids.ts";
import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";
import { createMemoryBus } from "./memory-bus.ts";
import { createRedisBus } from "./redis-bus.ts";

const log = pino({ level: "silent" });
const AWAY = expect.stringMatching(/^Redis does not answer: .*REDIS_URL/);
const BACK = expect.stringMatching(/^Redis answers again/);
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

const DELTA: ConversationEvent = { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: "a\u0000\ud800 👋" };

function batch(conversationId: string, seq = 1, event = DELTA): PublishedBatch {
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
    await listening.subscribe(here, (one) => heard[0]?.push(one)).inForce;
    await listening.subscribe(here, (one) => heard[1]?.push(one)).inForce;
    await listening.subscribe(there, (one) => heard[2]?.push(one)).inForce;
    const sent = Array.from({ length: 20 }, (_, index) => batch(here, index + 1));
    for (const one of sent) publishing.publish(one);
    await waitFor(() => heard[1]?.length === 20, { describe: "all batches" });
    expect(heard).toEqual([sent, sent, []]);
  });

  test("who left hears nothing more; who stays, or comes again, does", async () => {
    const [publishing, listening] = await open();
    const conversationId = newId("conv");
    const [left, stayed]: number[][] = [[], []];
    const leaving = listening.subscribe(conversationId, ({ events }) => left?.push(events[0]?.seq ?? 0));
    const staying = listening.subscribe(conversationId, ({ events }) => stayed?.push(events[0]?.seq ?? 0));
    await Promise.all([leaving.inForce, staying.inForce]);
    leaving.leave();
    publishing.publish(batch(conversationId, 1));
    await waitFor(() => stayed?.length === 1, { describe: "the first" });
    staying.leave();
    await listening.subscribe(conversationId, ({ events }) => stayed?.push(events[0]?.seq ?? 0)).inForce;
    publishing.publish(batch(conversationId, 2));
    await waitFor(() => stayed?.length === 2, { describe: "the second" });
    expect([left, stayed]).toEqual([[], [1, 2]]);
  });

  test("who follows a tenant hears which of its conversations change, and not of each token, nor of another's", async () => {
    const [publishing, listening] = await open();
    const end: ConversationEvent = { type: "TEXT_MESSAGE_END", messageId: "msg_1" };
    const mine = { ...batch(newId("conv"), 7, end), tenantId: newId("tenant") };
    const heard: ConversationChange[] = [];
    const following = listening.followTenant(mine.tenantId, (change) => heard.push(change));
    await following.inForce;
    publishing.publish(batch(newId("conv"), 1, end));
    publishing.publish({ ...batch(mine.conversationId, 6), tenantId: mine.tenantId });
    publishing.publish(mine);
    const change = { id: mine.conversationId, lastSeq: 7 };
    await waitFor(() => heard.length > 0, { describe: "the change" });
    following.leave();
    const again = listening.followTenant(mine.tenantId, (change) => heard.push(change));
    await again.inForce;
    publishing.publish(mine);
    await waitFor(() => heard.length > 1, { describe: "the change again" });
    expect(heard).toEqual([change, change]);
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

interface Heard {
  batches: number;
  controls: number;
}

/** Follows a conversation and the control channel, and says what was heard since the last look. */
async function listenTo(bus: EventBus, conversationId: string): Promise<() => Heard> {
  let heard: Heard = { batches: 0, controls: 0 };
  await bus.subscribe(conversationId, () => heard.batches++).inForce;
  await bus.control.subscribe(() => heard.controls++);
  return () => {
    const seen = heard;
    heard = { batches: 0, controls: 0 };
    return seen;
  };
}

/** Publishes until both channels are heard again. */
async function isHeard(publishing: EventBus, conversationId: string, heard: () => Heard): Promise<void> {
  const sum: Heard = { batches: 0, controls: 0 };
  await waitFor(
    () => {
      publishing.publish(batch(conversationId));
      publishing.control.publish({ kind: "run.cancelled", runId: newId("run") });
      const { batches, controls } = heard();
      sum.batches += batches;
      sum.controls += controls;
      return sum.batches > 0 && sum.controls > 0;
    },
    { describe: () => `both channels: ${JSON.stringify(sum)}`, intervalMs: 20 },
  );
}

describe("a Redis that goes away and comes back: the bus says so within 5 s, and everything is in force again", () => {
  let proxy: FaultProxy;

  beforeAll(async () => {
    proxy = await startFaultProxy({ target: { port: redis.port } });
  });
  afterAll(() => proxy.stop());

  const outages: [string, { begin: () => unknown; end: () => unknown }][] = [
    ["killed, and empty when it comes back", { begin: () => redis.kill(), end: () => redis.restart() }],
    ["frozen", { begin: () => redis.freeze(), end: () => redis.thaw() }],
    [
      "behind a line that refuses",
      {
        begin: async () => {
          await proxy.setMode({ kind: "refuse" });
          proxy.cut();
        },
        end: () => proxy.setMode({ kind: "pass" }),
      },
    ],
    [
      "behind a line that swallows everything",
      { begin: () => proxy.setMode({ kind: "blackhole" }), end: () => proxy.setMode({ kind: "pass" }) },
    ],
    [
      "behind a line whose far end is gone",
      { begin: () => proxy.setMode({ kind: "half-open" }), end: () => proxy.setMode({ kind: "pass" }) },
    ],
  ];

  test.each(outages)("%s", async (_name, { begin, end }) => {
    const said: string[] = [];
    const log = pino({ level: "info" }, { write: (line) => said.push(JSON.parse(line).msg) });
    const bus = createRedisBus(`redis://127.0.0.1:${proxy.port}`, log);
    buses.push(bus);
    await waitFor(() => bus.isHealthy(), { describe: "the bus to connect" });
    const [before, during] = [newId("conv"), newId("conv")];
    const heard = await listenTo(bus, before);
    await isHeard(bus, before, heard);
    const told: boolean[] = [];
    bus.onHealth((isHealthy) => told.push(isHealthy));

    await begin();
    try {
      await waitFor(() => told.length > 0, { describe: "the bus to say so", timeoutMs: 5_000 });
      expect(bus.isHealthy()).toBe(false);
      // Nothing waits and nothing throws; what is published now is lost.
      bus.publish(batch(before));
      bus.control.publish({ kind: "run.cancelled", runId: newId("run") });
      const { leave } = bus.subscribe(newId("conv"), () => {});
      leave();
    } finally {
      await end();
    }
    const meanwhile: number[] = [];
    const { inForce } = bus.subscribe(during, ({ events }) => meanwhile.push(events.length));
    await inForce;
    await waitFor(() => bus.isHealthy(), { describe: "the bus to be back" });
    await isHeard(bus, before, heard);
    bus.publish(batch(during));
    await waitFor(() => meanwhile.length === 1, { describe: "a subscription made meanwhile" });
    expect(told).toEqual([false, true]);
    expect(said).toEqual([AWAY, BACK]);
  });
});

test("a Redis that is back within a second is not missed, and everyone is told that batches may be missing", async () => {
  const bus = await onRedis();
  const conversationId = newId("conv");
  const heard = await listenTo(bus, conversationId);
  const told: boolean[] = [];
  bus.onHealth((isHealthy) => told.push(isHealthy));
  let reconnects = 0;
  bus.onReconnect(() => reconnects++);
  const proxy = await startFaultProxy({ target: { port: redis.port } });
  const other = createRedisBus(`redis://127.0.0.1:${proxy.port}`, log);
  buses.push(other);
  await waitFor(() => other.isHealthy(), { describe: "the other to connect" });
  const otherHeard = await listenTo(other, conversationId);
  let otherReconnects = 0;
  other.onReconnect(() => otherReconnects++);
  expect(proxy.cut()).toBe(2);
  await waitFor(() => otherReconnects > 0, { describe: "the reconnect" });
  await isHeard(bus, conversationId, otherHeard);
  await isHeard(other, conversationId, heard);
  expect([told, reconnects, otherReconnects, other.isHealthy()]).toEqual([[], 0, 1, true]);
  await proxy.stop();
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
  expect(said).toEqual([AWAY]);
  await away.restart();
  const message: ControlMessage = { kind: "run.cancelled", runId: newId("run") };
  await waitFor(
    () => {
      bus.control.publish(message);
      return heard.length > 0;
    },
    { describe: "a control message" },
  );
  expect(said.slice(1)).toEqual([BACK]);
  await bus.close();
  await away.stop();
});
