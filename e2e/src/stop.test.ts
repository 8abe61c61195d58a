/** Ten seconds is what a supervisor gives a process to stop: whatever is stuck, it ends by itself, and says it went well. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { startModelServer } from "@agent-engine/testing/model-server.ts";
import { createTestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { startRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { Run, Submission } from "@agent-engine/protocol/resources.ts";
import pg from "pg";
import { apiAt } from "./api-client.ts";
import { createShopTenant, type TenantKeys } from "./shop-tenant.ts";

const GRACE_MS = 10_000;

interface Stage {
  process: RunningProcess;
  postgres: FaultProxy;
  redis: FaultProxy;
  db: pg.Pool;
  keys: TenantKeys;
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** One process that does everything, with a run in it whose model has not said a word and hangs. */
async function stage(): Promise<Stage> {
  const dataDir = mkdtempSync(join(tmpdir(), "agent-engine-test-stop-"));
  ends.push(() => rmSync(dataDir, { recursive: true, force: true }));
  const database = await createTestDatabase();
  ends.push(() => database.drop());
  const redisServer = await startRedis();
  ends.push(() => redisServer.stop());
  const model = await startModelServer({ script: () => ({ steps: [{ kind: "stall" }] }) });
  ends.push(() => model.stop());
  const url = new URL(database.ownerUrl);
  const postgres = await startFaultProxy({ target: { host: url.hostname, port: Number(url.port) } });
  ends.push(() => postgres.stop());
  const redis = await startFaultProxy({ target: { port: redisServer.port } });
  ends.push(() => redis.stop());
  const db = new pg.Pool({ connectionString: database.ownerUrl, max: 2 });
  db.on("error", () => {});
  ends.push(() => db.end());
  const keys = await createShopTenant({ DATABASE_URL: database.ownerUrl, DATA_DIR: dataDir });
  url.hostname = "127.0.0.1";
  url.port = String(postgres.port);
  const child = startProcess({
    name: "npm start",
    args: ["scripts/start.ts"],
    env: {
      DATABASE_URL: url.href,
      REDIS_URL: `redis://127.0.0.1:${redis.port}`,
      DATA_DIR: dataDir,
      OPENAI_BASE_URL: model.url,
      PORT: "0",
      DEMO_PORT: "0",
    },
  });
  ends.push(() => child.stop(0));
  await child.waitForOutput(/Ctrl-C stops everything/);
  const [, apiUrl = ""] = await child.waitForOutput(/API\s+(http:\/\/\S+)/);
  const staff = apiAt(apiUrl, keys.secretKey);
  const { run } = await staff.request<Submission>("POST", "/v1/runs", { agentId: keys.agentId, input: "Hello?" });
  await waitFor(async () => (await staff.request<Run>("GET", `/v1/runs/${run.id}`)).status === "running", {
    describe: "the run to be executed",
  });
  await waitFor(() => model.received() > 0, { describe: "the model to be asked" });
  return { process: child, postgres, redis, db, keys };
}

async function stops({ process: child }: Stage): Promise<void> {
  child.signal("SIGTERM");
  await waitFor(() => !child.isRunning(), {
    describe: () => `the process to end; its log:\n${child.logs().slice(-2_000)}`,
    timeoutMs: GRACE_MS,
  });
  expect(await child.exited).toEqual({ code: 0, signal: null });
}

const lostRuns = async ({ db }: Stage) =>
  (await db.query("select status, worker_id, crashes from runs")).rows as unknown[];

test("a model that hangs: its run is handed over", async () => {
  const it = await stage();
  await stops(it);
  expect(await lostRuns(it)).toEqual([{ status: "running", worker_id: null, crashes: 0 }]);
  expect((await it.db.query("select 1 from workers")).rows).toEqual([]);
});

test("Redis behind a dead line: its run is handed over all the same", async () => {
  const it = await stage();
  await it.redis.setMode({ kind: "blackhole" });
  await stops(it);
  expect(await lostRuns(it)).toEqual([{ status: "running", worker_id: null, crashes: 0 }]);
  expect((await it.db.query("select 1 from workers")).rows).toEqual([]);
});

test("Postgres behind a dead line, or both", async () => {
  const it = await stage();
  await it.postgres.setMode({ kind: "blackhole" });
  await it.redis.setMode({ kind: "blackhole" });
  await stops(it);
});
