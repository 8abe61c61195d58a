/**
 * Production's shape on one machine: separate server and worker processes with NODE_ENV=production on one Postgres and
 * one Redis, and a tenant made as an operator makes it. What docker-compose.yml starts, without the containers.
 */
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { createTestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import { createShopTenant, type TenantKeys } from "./shop-tenant.ts";

export interface Cluster {
  servers: ClusterServer[];
  workers: ClusterWorker[];
  /** Between all processes and Postgres. */
  postgresProxy: FaultProxy;
  model: ModelServer;
  redis: TestRedis;
  /** As the database's owner. */
  db: pg.Pool;
  keys: TenantKeys;
  addWorker(): Promise<ClusterWorker>;
  stop(): Promise<void>;
}

export interface ClusterServer {
  url: string;
  process: RunningProcess;
  /** Between this server and Redis. */
  redisProxy: FaultProxy;
}

export interface ClusterWorker {
  process: RunningProcess;
  /** Between this worker and Redis. */
  redisProxy: FaultProxy;
}

export interface ClusterOptions {
  servers: number;
  workers: number;
  /** For workers, over production's: a tool on this machine is not to be reached in production. */
  workerEnv?: Record<string, string>;
}

export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const ends: (() => Promise<unknown>)[] = [];
  const stop = async () => {
    for (const end of ends.toReversed()) await end();
  };
  try {
    const database = await createTestDatabase();
    ends.push(() => database.drop());
    const db = new pg.Pool({ connectionString: database.ownerUrl, max: 4 });
    db.on("error", () => {});
    ends.push(() => db.end());
    const redis = await startRedis();
    ends.push(() => redis.stop());
    const model = await startModelServer({ tokens: 20 });
    ends.push(() => model.stop());

    const databaseUrl = new URL(database.ownerUrl);
    const postgresProxy = await startFaultProxy({
      target: { host: databaseUrl.hostname, port: Number(databaseUrl.port) },
    });
    ends.push(() => postgresProxy.stop());
    databaseUrl.host = `127.0.0.1:${postgresProxy.port}`;
    const startRedisProxy = async (): Promise<FaultProxy> => {
      const proxy = await startFaultProxy({ target: { port: redis.port } });
      ends.push(() => proxy.stop());
      return proxy;
    };

    const env = {
      NODE_ENV: "production",
      PUBLIC_URL: "https://agents.example",
      DATABASE_URL: databaseUrl.href,
      REDIS_URL: redis.url,
      SECRET_KEY: "e2e-master-key-that-is-long-enough-to-be-taken",
      OPENAI_BASE_URL: model.url,
      // Faster than people, and from one address.
      RATE_LIMITS: "all=1000000",
    };
    const run = (name: string, more: Record<string, string>): RunningProcess => {
      const child = startProcess({ name, args: ["scripts/start.ts"], env: { ...env, ...more } });
      ends.push(() => child.stop());
      return child;
    };
    const servers: Cluster["servers"] = [];
    for (let i = 0; i < options.servers; i++) {
      const port = await freePort();
      const redisProxy = await startRedisProxy();
      const child = run(`server ${i}`, {
        ROLE: "server",
        PORT: String(port),
        REDIS_URL: `redis://127.0.0.1:${redisProxy.port}`,
      });
      servers.push({ url: `http://127.0.0.1:${port}`, process: child, redisProxy });
      await child.waitUntilReady(`http://127.0.0.1:${port}/readyz`, 60_000);
    }
    const keys = await createShopTenant(env);
    const workers: ClusterWorker[] = [];
    const addWorker = async (): Promise<ClusterWorker> => {
      const redisProxy = await startRedisProxy();
      const { rows } = await db.query<{ now: Date }>("select now()");
      const since = rows[0]?.now ?? new Date();
      const child = run(`worker ${workers.length}`, {
        ...options.workerEnv,
        ROLE: "worker",
        REDIS_URL: `redis://127.0.0.1:${redisProxy.port}`,
      });
      const isReady = () => child.logs().includes('"Ready in');
      await waitFor(async () => !child.isRunning() || (isReady() && (await isWorkerSince(db, since))), {
        describe: () => `a worker's heartbeat; its log ends with:\n${child.logs().slice(-2_000)}`,
        timeoutMs: 60_000,
      });
      // One that was ready and is gone already had work that killed it: for who asked for it to see.
      if (!isReady()) throw new Error(`a worker ended at its start:\n${child.logs().slice(-2_000)}`);
      const worker = { process: child, redisProxy };
      workers.push(worker);
      return worker;
    };
    for (let i = 0; i < options.workers; i++) await addWorker();
    return { servers, workers, postgresProxy, model, redis, db, keys, addWorker, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function isWorkerSince(db: pg.Pool, since: Date): Promise<boolean> {
  const { rowCount } = await db.query("select 1 from workers where started_at >= $1", [since]);
  return rowCount !== 0;
}
