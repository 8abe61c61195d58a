import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listAgents } from "../agents/list-agents.ts";
import { openDatabase, type Database } from "./database.ts";
import { PostgresUnavailable } from "./postgres-unavailable.ts";
import { statement } from "./statement.ts";
import { inTenant } from "./transaction.ts";

const one = statement<{ n: number }>("test_one", "select 1 as n");

let spine: Spine;
let tenant: TestTenant;
let proxy: FaultProxy;
let db: Database;
let said: string[] = [];

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
  const url = new URL(spine.services.db.url);
  proxy = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } });
  url.host = `127.0.0.1:${proxy.port}`;
  const log = pino({ level: "info" }, { write: (line) => said.push(JSON.parse(line).msg) });
  db = openDatabase({ url: url.href, log });
});
afterAll(async () => {
  await db.close();
  await proxy.stop();
  await spine.close();
});

const throughOrm = () => listAgents({ ...tenant.ctx, services: { ...spine.services, db } }, { limit: 1, cursor: null });
const inTransaction = () => inTenant(db, tenant.id, (tx) => tx.query(one, []));
const inOneStatement = () => db.query(one, []);
const all = () => [throughOrm(), inTransaction(), inOneStatement()];

describe.each(["refuse", "blackhole", "half-open"] as const)("a Postgres behind a line that does %s", (kind) => {
  test("is found out: what hangs is told so, what follows fails at once, and everything works again", async () => {
    await Promise.all(all());
    said = [];
    await proxy.setMode({ kind });
    if (kind === "refuse") proxy.cut();
    try {
      const late = new Promise((_, reject) => setTimeout(reject, 10_000, new Error("no answer in time")).unref());
      const hanging = await Promise.race([Promise.allSettled(all()), late]);
      const unavailable = { status: "rejected", reason: expect.any(PostgresUnavailable) };
      expect(hanging).toEqual([unavailable, unavailable, unavailable]);
      await waitFor(() => said.length > 0, { describe: "the log to say so" });
      // Nobody waits for a connection any more.
      expect(await Promise.allSettled(all())).toEqual([unavailable, unavailable, unavailable]);
      expect(db.pool.waitingCount).toBe(0);
    } finally {
      await proxy.setMode({ kind: "pass" });
    }
    await waitFor(() => said.length > 1, { describe: "the log to say that it is back" });
    await Promise.all(all());
    expect(said).toEqual([
      expect.stringMatching(/^Postgres does not answer: .*DATABASE_URL/),
      expect.stringMatching(/^Postgres answers again/),
    ]);
  });
});

test("a connection that breaks by itself is not taken for a Postgres that is away", async () => {
  await Promise.all(all());
  said = [];
  expect(proxy.cut()).toBeGreaterThan(0);
  await waitFor(() => Promise.all(all()), { describe: "new connections" });
  expect(said).toEqual([]);
});

test("however often the ORM's transactions break, in whichever statement, its pool keeps its places", async () => {
  const orm = await db.orm();
  const taken = async () => {
    const pool = await orm.em.getConnection().getNativeClient();
    return pool.totalCount - pool.idleCount;
  };
  // Twice as many as there are places.
  for (let round = 0; round < 8; round++) {
    await proxy.setMode({ kind: "latency", delayMs: 5 * (round % 4) });
    const breaking = throughOrm();
    await waitFor(async () => (await taken()) > 0, { describe: "a transaction under way", intervalMs: 1 });
    proxy.cut();
    await breaking.catch(() => undefined);
  }
  await proxy.setMode({ kind: "pass" });
  await waitFor(async () => (await taken()) === 0, { describe: "all places to be free" });
  await throughOrm();
});
