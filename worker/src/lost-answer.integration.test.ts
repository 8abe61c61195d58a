/** The way to Postgres breaks at a run's last word: it is said once, and no turn of the model is made again for it. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { openDatabase, type Database } from "@agent-engine/core/db/database.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type pg from "pg";
import { startWorker, type RunningWorker } from "./main.ts";
import { calls, says, startProduct, type Product } from "./product-fixture.ts";

let product: Product;
let proxy: FaultProxy;
let db: Database;
let worker: RunningWorker;
/** Called right before the statement of that name is sent. */
const onSend = new Map<string, () => Promise<void>>();

beforeAll(async () => {
  product = await startProduct({ withoutWorker: true });
  const { services, retryPolicy, stall } = product;
  const url = new URL(services.db.url);
  proxy = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } });
  url.hostname = "127.0.0.1";
  url.port = String(proxy.port);
  const real = openDatabase({ url: url.href, log: services.log });
  const sending = async (name: string) => {
    const hook = onSend.get(name);
    onSend.delete(name);
    await hook?.();
  };
  const connect = async () => {
    const client = await real.pool.connect();
    const send = client.query.bind(client) as (sent: unknown) => Promise<unknown>;
    const query = async (sent: string | { name: string }) => {
      await sending(typeof sent === "string" ? sent : sent.name);
      return send(sent);
    };
    return { query, release: (error?: boolean) => client.release(error) } as unknown as pg.PoolClient;
  };
  db = {
    ...real,
    connect,
    async query(statement, values) {
      await sending(statement.name);
      return real.query(statement, values);
    },
  };
  const config = { nodeEnv: "test" as const, workerConcurrency: 4 };
  worker = await startWorker({ services: { ...services, db }, config, retryPolicy, stall });
});
afterEach(() => proxy.setMode({ kind: "pass" }));
afterAll(async () => {
  await worker?.stop();
  await db?.close();
  await proxy?.stop();
  await product.stop();
});

/** What is sent arrives, and what comes back does not; the connections break once it has been done. */
async function loseTheAnswer(isDone: () => Promise<boolean>): Promise<void> {
  await proxy.setMode({ kind: "throttle", bytesPerSecond: 1 });
  void waitFor(isDone, { describe: "the statement to be done" }).then(async () => {
    await proxy.setMode({ kind: "pass" });
    proxy.cut();
  });
}

/** What is sent does not arrive. */
async function loseTheQuestion(): Promise<void> {
  await proxy.setMode({ kind: "refuse" });
  proxy.cut();
  await proxy.setMode({ kind: "pass" });
}

const statusIs = (runId: string, status: string) => async () => {
  const { rows } = await product.db.query("select status from runs where id = $1", [uuidOf(runId)]);
  return rows[0].status === status;
};

test("the answer to the end is lost: the run has ended, and what waited behind it begins at once", async () => {
  const chat = await product.chat();
  const first = await chat.ask(say("First", { gapMs: 5, steps: [{ kind: "tokens", count: 30 }] }));
  onSend.set("end_run", () => loseTheAnswer(statusIs(first.id, "completed")));
  const next = await chat.ask(say("Next", { steps: [says("Me too.")] }));
  expect(await chat.settled(first.id)).toMatchObject({ status: "completed", attempt: 1 });
  expect(await chat.settled(next.id)).toMatchObject({ status: "completed", attempt: 1 });
  expect([chat.requests("First").length, chat.requests("Next").length]).toEqual([1, 1]);
  // Not by the sweeper, which would have given it another number.
  const { rows } = await product.db.query("select hand_over from runs where id = $1", [uuidOf(next.id)]);
  expect(rows).toEqual([{ hand_over: 1 }]);
  await product.expectSound();
});

test("the end itself is lost: it is written again, not the turn", async () => {
  const chat = await product.chat();
  onSend.set("end_run", loseTheQuestion);
  const run = await chat.answered(say("Please", { steps: [says("Here you are.")] }));
  expect(run).toMatchObject({ status: "completed", attempt: 1 });
  expect(await chat.texts()).toEqual(["Here you are."]);
  expect(chat.requests("Please")).toHaveLength(1);
  await product.expectSound();
});

test.each(["run_park", "commit"])("the way breaks at %s while it decides to wait: it waits, once", async (at) => {
  const chat = await product.chat();
  product.tools.enqueueFaults({ kind: "cut", when: "after" });
  const { id } = await chat.ask(say("Please", { steps: [calls("send", at)] }));
  onSend.set("run_park", async () => {
    if (at === "run_park") return loseTheQuestion();
    onSend.set("commit", () => loseTheAnswer(statusIs(id, "waiting")));
  });
  expect(await chat.settled(id)).toMatchObject({
    status: "waiting",
    attempt: 1,
    interrupts: [{ reason: "operator", metadata: { code: "connection_lost", attempts: 1 } }],
  });
  expect(chat.requests("Please")).toHaveLength(1);
  await product.expectSound();
});

test("the way breaks while a turn that asks for tools is recorded: the turn stands, and its write is made once", async () => {
  const chat = await product.chat();
  const { id } = await chat.ask(
    say("Please", { steps: [calls("send", "recorded")] }, { steps: [says("Here you are.")] }),
  );
  const isRecorded = async () =>
    (await product.db.query("select 1 from steps where run_id = $1", [uuidOf(id)])).rows.length === 1;
  onSend.set("tool_step_insert", async () => {
    onSend.set("commit", () => loseTheAnswer(isRecorded));
  });
  expect(await chat.settled(id)).toMatchObject({ status: "completed", attempt: 1 });
  expect(chat.requests("Please")).toHaveLength(2);
  expect(product.tools.ledger.filter(({ body }) => JSON.stringify(body).includes("recorded"))).toHaveLength(1);
  await product.expectSound();
});
