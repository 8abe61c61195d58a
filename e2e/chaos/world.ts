/**
 * What the experiments break: server and worker processes as in production, each with a fault proxy between it and
 * Redis, each server with another one before it, on a durable Postgres and a Redis of their own; a model and tools that
 * do as they are told.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { crashingPostgres, type CrashingPostgres } from "@agent-engine/testing/crashing-postgres.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { startTestCluster } from "@agent-engine/testing/test-cluster.ts";
import { startToolServer, type ToolFault, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import { apiAt, type Api } from "../src/api-client.ts";
import { createShopTenant, type TenantKeys } from "../src/shop-tenant.ts";
import { publishShopAgent } from "./shop-agent.ts";

export interface World {
  /** Those that run; replaced ones are gone from here. */
  readonly servers: readonly WorldServer[];
  readonly workers: readonly WorldWorker[];
  model: ModelServer;
  tools: ToolServer;
  /** What the first tool call with that value suffers. */
  toolFaults: Map<string, ToolFault>;
  redis: TestRedis;
  postgres: CrashingPostgres;
  /** As the database's owner, who sees everything. Its connections do not survive a crash of Postgres; it does. */
  db: pg.Pool;
  keys: TenantKeys;
  /** Another tenant, with the same agent. */
  newTenant(): Promise<TenantKeys>;
  /** A tenant's secret key, through the first server's proxy. Default: the tenant that everybody shares. */
  staff(keys?: TenantKeys): Api;
  /** `apart`: nobody is sent there who does not ask for it. */
  addServer(env?: Record<string, string>, place?: "apart"): Promise<WorldServer>;
  /** Resolves once its heartbeat is there. */
  addWorker(env?: Record<string, string>): Promise<WorldWorker>;
  /** Forgets one that was killed, or stops it (SIGTERM) when it runs. */
  remove(one: WorldServer | WorldWorker): Promise<void>;
  /** SIGTERM, and the same again at the same address. Answers its exit code. */
  roll(one: WorldServer | WorldWorker): Promise<number | null>;
  /** Starts a killed server again at its address. */
  revive(server: WorldServer): Promise<void>;
  /** Starts workers until there are so many that run. */
  ensureWorkers(count?: number): Promise<void>;
  /** What every process has printed, ended ones too, by name. */
  logs(): Map<string, string>;
  /** Which worker holds a run now; null when none does. */
  workerOf(runId: string): Promise<WorldWorker | null>;
  stop(): Promise<void>;
}

export interface WorldServer {
  kind: "server";
  name: string;
  /** Through its proxy. */
  url: string;
  port: number;
  process: RunningProcess;
  /** Between clients and this server. */
  proxy: FaultProxy;
  redisProxy: FaultProxy;
  env: Record<string, string>;
}

export interface WorldWorker {
  kind: "worker";
  name: string;
  process: RunningProcess;
  redisProxy: FaultProxy;
  /** As the database knows it; another one after a roll. */
  uuid: string;
  env: Record<string, string>;
}

export const WORKERS = 4;
const SERVERS = 2;
const START_MS = 90_000;
/** Each worker has another number of slots, which tells them apart in the database. */
const FIRST_SLOTS = 1_001;

/** A model's longest silence before it begins; within an answer a quarter. Experiments wait for it. */
const SILENCE_SECONDS = 9;

/** How all of it is ended, whatever of it was started. */
interface Ends {
  /** In the order of their beginnings. */
  ends: (() => Promise<unknown>)[];
  processes: RunningProcess[];
  stop(): Promise<void>;
}

export async function startWorld(): Promise<World> {
  const ends: (() => Promise<unknown>)[] = [];
  const processes: RunningProcess[] = [];
  const stop = async () => {
    await Promise.all(processes.map((one) => one.stop()));
    // What is still being started adds its end meanwhile.
    for (let end = ends.pop(); end; end = ends.pop()) await end();
  };
  try {
    return await openWorld({ ends, processes, stop });
  } catch (error) {
    await stop();
    throw error;
  }
}

async function openWorld({ ends, processes, stop }: Ends): Promise<World> {
  const dataDir = mkdtempSync(join(tmpdir(), "agent-engine-chaos-"));
  ends.push(async () => rmSync(dataDir, { recursive: true, force: true }));
  const cluster = await startTestCluster({ durable: true });
  ends.push(() => cluster.stop());
  const redis = await startRedis();
  ends.push(async () => {
    redis.thaw();
    await redis.stop();
  });
  const model = await startModelServer({ tokens: 20, keepRequests: 20_000 });
  ends.push(() => model.stop());
  const toolFaults = new Map<string, ToolFault>();
  const tools = await startToolServer({
    fault: ({ body }) => {
      const { value = "" } = (body ?? {}) as { value?: string };
      const fault = toolFaults.get(value) ?? null;
      toolFaults.delete(value);
      return fault;
    },
  });
  ends.push(() => tools.stop());
  const db = new pg.Pool({ connectionString: cluster.templateUrl, max: 6 });
  db.on("error", () => {});
  ends.push(() => db.end());

  const common = {
    NODE_ENV: "production",
    PUBLIC_URL: "https://agents.example",
    DATABASE_URL: cluster.templateUrl,
    SECRET_KEY: "chaos-master-key-that-is-long-enough-to-be-taken",
    OPENAI_BASE_URL: model.url,
    // Faster than people, and from one address.
    RATE_LIMITS: "all=1000000",
  };
  // A tool on this machine is not to be reached in production.
  const workerCommon = {
    NODE_ENV: "test",
    DATA_DIR: dataDir,
    MODEL_SILENCE_SECONDS: String(SILENCE_SECONDS),
  };
  const servers: WorldServer[] = [];
  const workers: WorldWorker[] = [];
  let servedSlots = FIRST_SLOTS;
  let made = 0;

  function launch(name: string, env: Record<string, string>): RunningProcess {
    const child = startProcess({ name, args: ["scripts/start.ts"], env: { ...common, ...env } });
    ends.push(() => child.stop());
    processes.push(child);
    return child;
  }
  async function proxyTo(port: number): Promise<FaultProxy> {
    const proxy = await startFaultProxy({ target: { port } });
    ends.push(() => proxy.stop());
    return proxy;
  }
  async function launchWorker(one: Pick<WorldWorker, "name" | "env">): Promise<Pick<WorldWorker, "process" | "uuid">> {
    const slots = one.env["WORKER_CONCURRENCY"] ?? String(servedSlots++);
    const before = new Set((await workersWith(db, slots)).map(({ id }) => id));
    const child = launch(one.name, { ...workerCommon, ...one.env, ROLE: "worker", WORKER_CONCURRENCY: slots });
    const uuid = await waitFor(
      async () => {
        if (!child.isRunning()) return "ended";
        return (await workersWith(db, slots)).find(({ id }) => !before.has(id))?.id;
      },
      {
        describe: () => `${one.name}'s heartbeat; its log ends with:\n${child.logs().slice(-2_000)}`,
        timeoutMs: START_MS,
      },
    );
    if (uuid === "ended") throw new Error(`${one.name} ended at its start:\n${child.logs().slice(-2_000)}`);
    return { process: child, uuid };
  }

  const world: World = {
    servers,
    workers,
    model,
    tools,
    toolFaults,
    redis,
    postgres: crashingPostgres(cluster.dir),
    db,
    keys: { publishableKey: "", secretKey: "", agentId: "" },
    async newTenant() {
      const keys = await createShopTenant({ ...common, REDIS_URL: redis.url });
      await publishShopAgent(apiAt(servers[0]?.url ?? "", keys.secretKey), keys.agentId, tools.url);
      return keys;
    },
    staff: (keys = world.keys) => apiAt(servers[0]?.url ?? "", keys.secretKey),
    async addServer(env = {}, place) {
      const port = await freePort();
      const proxy = await proxyTo(port);
      const redisProxy = await proxyTo(redis.port);
      const name = `server ${++made}`;
      const own = { ...env, ROLE: "server", PORT: String(port), REDIS_URL: `redis://127.0.0.1:${redisProxy.port}` };
      const process = launch(name, own);
      await process.waitUntilReady(`http://127.0.0.1:${port}/readyz`, START_MS);
      const url = `http://127.0.0.1:${proxy.port}`;
      const server: WorldServer = { kind: "server", name, url, port, process, proxy, redisProxy, env: own };
      if (place !== "apart") servers.push(server);
      return server;
    },
    async addWorker(env = {}) {
      const redisProxy = await proxyTo(redis.port);
      const own = { ...env, REDIS_URL: `redis://127.0.0.1:${redisProxy.port}` };
      const named = { name: `worker ${++made}`, env: own };
      const worker: WorldWorker = { kind: "worker", ...named, redisProxy, ...(await launchWorker(named)) };
      workers.push(worker);
      return worker;
    },
    async remove(one) {
      const all: (WorldServer | WorldWorker)[] = one.kind === "server" ? servers : workers;
      const at = all.indexOf(one);
      if (at >= 0) all.splice(at, 1);
      await one.process.stop();
      await one.redisProxy.stop();
      if (one.kind === "server") await one.proxy.stop();
    },
    async roll(one) {
      one.process.signal("SIGTERM");
      const { code } = await one.process.exited;
      if (one.kind === "worker") Object.assign(one, await launchWorker(one));
      else await world.revive(one);
      return code;
    },
    async revive(server) {
      server.process = launch(server.name, server.env);
      await server.process.waitUntilReady(`http://127.0.0.1:${server.port}/readyz`, START_MS);
    },
    async ensureWorkers(count = WORKERS) {
      for (const worker of [...workers]) if (!worker.process.isRunning()) await world.remove(worker);
      const missing = Math.max(0, count - workers.length);
      const started = await Promise.allSettled(Array.from({ length: missing }, () => world.addWorker()));
      for (const one of started) if (one.status === "rejected") throw one.reason;
    },
    logs() {
      const logs = new Map<string, string>();
      for (const { name, logs: own } of processes) logs.set(name, (logs.get(name) ?? "") + own());
      return logs;
    },
    async workerOf(runId) {
      const { rows } = await db.query<{ worker_id: string | null }>(
        "select worker_id from runs where id = $1 and status = 'running'",
        [runId.slice(4)],
      );
      return workers.find(({ uuid }) => uuid === rows[0]?.worker_id) ?? null;
    },
    stop,
  };

  await world.addServer();
  world.keys = await world.newTenant();
  const started = await Promise.allSettled([
    ...Array.from({ length: SERVERS - 1 }, () => world.addServer()),
    ...Array.from({ length: WORKERS }, () => world.addWorker()),
  ]);
  for (const one of started) if (one.status === "rejected") throw one.reason;
  return world;
}

async function workersWith(db: pg.Pool, slots: string): Promise<{ id: string }[]> {
  const { rows } = await db.query<{ id: string }>("select id from workers where slots = $1 and expires_at > now()", [
    Number(slots),
  ]);
  return rows;
}
