import { setImmediate as nextTurn } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { storedEvents, violations } from "@agent-engine/testing/invariants.ts";
import {
  addWorker,
  ask,
  claimFor,
  eventNames,
  openSpine,
  openTenant,
  startConversation,
  workOn,
  type Spine,
  type Working,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Ctx } from "../context.ts";
import { openDatabase, type Database } from "../db/database.ts";
import { inTenant } from "../db/transaction.ts";
import { newId, uuidOf } from "../ids.ts";
import type { Claim } from "../runs/claim-run.ts";
import { appendInTransaction, LeaseLost } from "./append-in-transaction.ts";
import { appendEvents, appendOutcomes, appendValues, type Fence, type NewEvent } from "./append.ts";
import { createAppender } from "./appender.ts";
import { readEvents } from "./read-events.ts";
import { RunLog } from "./run-log.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

const fact = (name: string): ConversationEvent => ({ type: "STEP_STARTED", stepName: name });

function newEvent(event: ConversationEvent): NewEvent {
  return { event, audience: "all", runId: null, correlationId: "test" };
}

/** A run in a worker's hands that has written nothing yet: its log has the visitor's three events. */
async function startClaim(): Promise<Claim> {
  const conversationId = await startConversation(tenant);
  const { run } = await ask(tenant.ctx, conversationId);
  return claimFor(spine, worker, run.id);
}

/** The same with `RUN_STARTED` as its last event. */
async function startWork(): Promise<Working> {
  const claim = await startClaim();
  const working = workOn(spine, claim);
  await working.write({ type: "RUN_STARTED", threadId: claim.conversationId, runId: claim.runId });
  return working;
}

/** The names of the facts that one conversation's log holds, in order. */
async function factsIn(conversationId: string): Promise<string[]> {
  const stored = await storedEvents(spine.owner, conversationId);
  return stored.flatMap(({ event }) => (event.type === "STEP_STARTED" ? [event.stepName] : []));
}

/** What the database holds against the log's rules, whatever state the runs are in. */
async function brokenRules(): Promise<unknown[]> {
  return (await violations(spine.owner)).filter(({ invariant }) => invariant !== "I4");
}

test("overlapping appenders, API writers, take-overs and zombies leave no gap, no loss, no duplicate", async () => {
  const { services, owner } = spine;
  const appenders = [createAppender(services), createAppender(services)];
  interface Writer {
    name: string;
    log: RunLog;
    emitted: number;
    acknowledged: number;
    isLost: boolean;
  }
  const writers: Writer[] = [];
  let nextWriter = 0;

  function writerOf(claim: Claim, epoch: number): Writer {
    const name = `w${nextWriter++}`;
    const appender = appenders[nextWriter % 2];
    if (!appender) throw new Error("no appender");
    const writer: Writer = { name, emitted: 0, acknowledged: 0, isLost: false, log: null as unknown as RunLog };
    const { conversationId, runId, tenantId, correlationId } = claim;
    const onLost = () => (writer.isLost = true);
    writer.log = new RunLog({ conversationId, runId, tenantId, correlationId, epoch, appender, onLost });
    writers.push(writer);
    return writer;
  }

  async function writeUntilLost(writer: Writer, most: number): Promise<void> {
    while (!writer.isLost && writer.emitted < most) {
      const burst = 1 + (writer.emitted % 3);
      for (let i = 0; i < burst; i++) writer.log.emit(fact(`${writer.name}:${writer.emitted++}`));
      const mark = writer.emitted;
      if (mark % 2 === 0) {
        await writer.log.flush().then(
          () => (writer.acknowledged = mark),
          () => undefined,
        );
      } else await nextTurn();
    }
    await writer.log.flush().then(
      () => (writer.acknowledged = writer.emitted),
      () => undefined,
    );
  }

  /** As a claim does it: the next epoch begins at position 0. The zombie is told nothing. */
  async function takeOver(claim: Claim): Promise<number> {
    const { rows } = await owner.query<{ epoch: number }>(
      "update conversation_heads set epoch = epoch + 1, run_pos = 0 where conversation_id = $1 returning epoch",
      [uuidOf(claim.conversationId)],
    );
    return rows[0]?.epoch ?? 0;
  }

  let byApi = 0;
  async function writeByApi(claim: Claim, times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      const { conversationId } = claim;
      await inTenant(services.db, tenant.id, (tx) =>
        appendInTransaction(tenant.ctx, tx, { conversationId, fence: null, events: [newEvent(fact(`api:${i}`))] }),
      );
      byApi++;
    }
  }

  const claims = (await Promise.all(Array.from({ length: 6 }, startWork))).map(({ claim }) => claim);
  const before = await Promise.all(claims.map(({ conversationId }) => storedEvents(owner, conversationId)));
  await Promise.all(
    claims.map(async (claim) => {
      const zombies: Promise<void>[] = [];
      for (let turn = 0; turn < 4; turn++) {
        const epoch = await takeOver(claim);
        const writer = writerOf(claim, epoch);
        // A log of a new lease starts at position 0, like the one that `claim_run` hands out.
        const writing = writeUntilLost(writer, turn === 3 ? 60 : 100_000);
        if (turn === 3) {
          await Promise.all([writing, writeByApi(claim, 10), ...zombies]);
          continue;
        }
        zombies.push(writing);
        await writeByApi(claim, 5);
        await waitFor(() => writer.acknowledged > 0, { describe: "the writer to have written" });
      }
    }),
  );

  let stored = 0;
  for (const claim of claims) stored += (await factsIn(claim.conversationId)).length;
  for (const { name, acknowledged, emitted, isLost } of writers) {
    const mine = (await Promise.all(claims.map(({ conversationId }) => factsIn(conversationId))))
      .flat()
      .filter((one) => one.startsWith(`${name}:`));
    // A prefix of what it wrote, in order and each once; at least what it was told is stored.
    expect(mine).toEqual(mine.map((_, index) => `${name}:${index}`));
    expect(mine.length).toBeGreaterThanOrEqual(acknowledged);
    expect(mine.length).toBeLessThanOrEqual(emitted);
    if (!isLost) expect(mine.length).toBe(emitted);
    stored -= mine.length;
  }
  expect(stored).toBe(byApi);
  expect(byApi).toBe(6 * 25);
  expect(before.flat().length).toBe(6 * 4);
  // 18 zombies kept writing, and each was found out.
  expect(writers.filter(({ isLost }) => isLost)).toHaveLength(18);
  expect(await brokenRules()).toEqual([]);
});

describe("the fence", () => {
  test.each<[string, (fence: Fence) => Fence]>([
    ["another run", (fence) => ({ ...fence, runId: newId("run") })],
    ["an earlier epoch", (fence) => ({ ...fence, epoch: fence.epoch - 1 })],
    ["a later epoch", (fence) => ({ ...fence, epoch: fence.epoch + 1 })],
    ["a position already written", (fence) => ({ ...fence, position: 0 })],
    ["a position not reached", (fence) => ({ ...fence, position: 7 })],
  ])("%s: nothing is stored, in a batch or in a transaction", async (_what, change) => {
    const { claim } = await startWork();
    const { conversationId, runId, epoch } = claim;
    const fence = change({ runId, epoch, position: 1 });
    const events = [newEvent(fact("a"))];
    const slots = [{ conversationId, tenantId: tenant.id, fence, events }];
    const rows = await spine.services.db.query(appendEvents, appendValues(slots));
    expect(appendOutcomes(slots, rows)).toEqual([{ outcome: "fenced" }]);
    const inTransaction = inTenant(spine.services.db, tenant.id, (tx) =>
      appendInTransaction(tenant.ctx, tx, { conversationId, fence, events }),
    );
    await expect(inTransaction).rejects.toBeInstanceOf(LeaseLost);
    expect(await factsIn(conversationId)).toEqual([]);
  });

  test("holds for one slot of a batch and not for the next", async () => {
    const [live, zombie] = [await startWork(), await startWork()];
    const slots = [live, zombie].map(({ claim: { conversationId, runId, epoch } }) => ({
      conversationId,
      tenantId: tenant.id,
      fence: { runId, epoch: runId === zombie.claim.runId ? epoch - 1 : epoch, position: 1 },
      events: [newEvent(fact("a")), newEvent(fact("b"))],
    }));
    const outcomes = appendOutcomes(slots, await spine.services.db.query(appendEvents, appendValues(slots)));
    expect(outcomes).toMatchObject([{ outcome: "ok", envelopes: [{ seq: 5 }, { seq: 6 }] }, { outcome: "fenced" }]);
    expect(await factsIn(live.claim.conversationId)).toEqual(["a", "b"]);
    expect(await factsIn(zombie.claim.conversationId)).toEqual([]);
  });

  test("a conversation that is gone fences its writer, which would else try for ever", async () => {
    const { claim, log } = await startWork();
    await spine.owner.query("delete from conversations where id = $1", [uuidOf(claim.conversationId)]);
    log.emit(fact("a"));
    await expect(log.flush()).rejects.toBeInstanceOf(LeaseLost);
  });
});

test("what is told to readers is what is stored", async () => {
  const { claim, log } = await startWork();
  const told: unknown[] = [];
  const { leave } = spine.services.bus.subscribe(claim.conversationId, ({ events }) => told.push(...events));
  log.emit(fact("a"));
  log.emit({ type: "TEXT_MESSAGE_START", messageId: "msg_1", role: "assistant" }, "staff");
  await log.flush();
  leave();
  const stored = await storedEvents(spine.owner, claim.conversationId);
  expect(told).toEqual(stored.slice(-2));
});

test("NUL and lone surrogates that a model may emit are stored and read back as they are", async () => {
  const { claim, write } = await startWork();
  const strange = 'a\u0000b\ud800c\udfffd \u2028 \\u0000 " 👋🏽';
  await write(
    { type: "TEXT_MESSAGE_START", messageId: "msg_1", role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "msg_1", delta: strange },
  );
  const events = await readEvents(tenant.ctx, { conversationId: claim.conversationId, after: 4, limit: 10 });
  expect(events.map(({ event }) => event).at(-1)).toEqual({
    type: "TEXT_MESSAGE_CONTENT",
    messageId: "msg_1",
    delta: strange,
  });
  // The checks over all logs read events with Postgres' own operators, which refuse NUL.
  await spine.owner.query("delete from conversations where id = $1", [uuidOf(claim.conversationId)]);
  await spine.owner.query("delete from events where conversation_id = $1", [uuidOf(claim.conversationId)]);
});

test("one event that cannot be stored stops its own run and no other", async () => {
  const claims = await Promise.all(Array.from({ length: 8 }, startClaim));
  const [bad] = claims;
  const logs = claims.map((claim) => {
    // Postgres refuses NUL in text: the correlation id stands for anything that cannot be stored.
    const { log } = workOn(spine, claim === bad ? { ...claim, correlationId: "a\u0000b" } : claim);
    log.emit(fact("a"));
    return log;
  });
  const flushes = await Promise.allSettled(logs.map((log) => log.flush()));
  expect(flushes.map(({ status }) => status)).toEqual(
    claims.map((claim) => (claim === bad ? "rejected" : "fulfilled")),
  );
  expect(await factsIn(bad?.conversationId ?? "")).toEqual([]);
});

test("a conversation that another writer holds is written when it is free; its neighbours do not wait", async () => {
  const workings = await Promise.all(Array.from({ length: 6 }, startWork));
  const [held, ...others] = workings;
  if (!held) throw new Error("no conversation");
  const blocker = new pg.Client({ connectionString: spine.services.ownerUrl });
  await blocker.connect();
  try {
    await blocker.query("begin");
    await blocker.query("select from conversation_heads where conversation_id = $1 for no key update", [
      uuidOf(held.claim.conversationId),
    ]);
    held.log.emit(fact("a"));
    for (const { write } of others) await write(fact("a"));
    expect(await factsIn(held.claim.conversationId)).toEqual([]);
    await blocker.query("commit");
    await held.log.flush();
  } finally {
    await blocker.end();
  }
  expect(await factsIn(held.claim.conversationId)).toEqual(["a"]);
});

describe("a connection cut around the commit", () => {
  let proxy: FaultProxy;
  let database: Database;
  let cutOff: Spine;

  beforeAll(async () => {
    const direct = new URL(await servingUrl());
    proxy = await startFaultProxy({ target: { port: Number(direct.port) } });
    const proxied = new URL(direct);
    proxied.port = String(proxy.port);
    database = openDatabase({ url: proxied.href, log: spine.services.log });
    const services = { ...spine.services, db: database };
    cutOff = { ...spine, services, appender: createAppender(services) };
  });
  afterAll(async () => {
    await database.close();
    await proxy.stop();
  });

  async function servingUrl(): Promise<string> {
    const { rows } = await spine.owner.query<{ app: string; password: string }>(
      "select app, password from serving_roles",
    );
    const url = new URL(spine.services.ownerUrl);
    url.username = rows[0]?.app ?? "";
    url.password = rows[0]?.password ?? "";
    return url.href;
  }

  const position = async (conversationId: string) => (await storedEvents(spine.owner, conversationId)).length;

  test("after it: the answer is lost, the events are there once", async () => {
    const claim = await startClaim();
    const { log } = workOn(cutOff, claim);
    await database.pool.query("select 1");
    await proxy.setMode({ kind: "latency", delayMs: 60 });
    log.emit(fact("a"));
    log.emit(fact("b"));
    const before = await position(claim.conversationId);
    await waitFor(async () => (await position(claim.conversationId)) > before, {
      intervalMs: 1,
      describe: "the events to be stored",
    });
    expect(proxy.cut()).toBeGreaterThan(0);
    await proxy.setMode({ kind: "pass" });
    log.emit(fact("c"));
    await log.flush();
    expect(await factsIn(claim.conversationId)).toEqual(["a", "b", "c"]);
  });

  test("before it: the events are sent again and there once", async () => {
    const claim = await startClaim();
    const { log } = workOn(cutOff, claim);
    await database.pool.query("select 1");
    await proxy.setMode({ kind: "blackhole" });
    log.emit(fact("a"));
    await nextTurn();
    await nextTurn();
    await proxy.setMode({ kind: "refuse" });
    proxy.cut();
    log.emit(fact("b"));
    await proxy.setMode({ kind: "pass" });
    await log.flush();
    expect(await factsIn(claim.conversationId)).toEqual(["a", "b"]);
  });

  test("of a transaction: it is all there or not at all, and the context says which", async () => {
    const { claim } = await startWork();
    const ctx: Ctx = { ...tenant.ctx, services: cutOff.services };
    const { conversationId } = claim;
    const write = () =>
      inTenant(database, tenant.id, async (tx) => {
        await appendInTransaction(ctx, tx, { conversationId, fence: null, events: [newEvent(fact("a"))] });
        proxy.cut();
      });
    await expect(write()).rejects.toThrow();
    expect(await factsIn(conversationId)).toEqual([]);
    await inTenant(database, tenant.id, (tx) =>
      appendInTransaction(ctx, tx, { conversationId, fence: null, events: [newEvent(fact("b"))] }),
    );
    expect(await factsIn(conversationId)).toEqual(["b"]);
    expect(await eventNames(spine, conversationId)).toHaveLength(5);
  });
});

test("and through all of this no log has a gap, a stranger or an event from a stale epoch", async () => {
  expect(await brokenRules()).toEqual([]);
});
