/** The product as it runs in production's shape on one machine: real processes, real Postgres and Redis, fsync on. */
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { DEMO_ORIGIN } from "@agent-engine/core/demo/ensure-demo.ts";
import { startEmbeddedPostgres } from "@agent-engine/core/dev/embedded-postgres.ts";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { requireProgram } from "@agent-engine/testing/programs.ts";
import { REPOSITORY, startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { benchFolder, sweepAbandoned } from "./abandoned.ts";
import type { Roots } from "./process-usage.ts";
import type { Endpoint } from "./visitor.ts";

export interface Stack {
  endpoint: Endpoint;
  modelUrl: string;
  databaseUrl: string;
  /** Process ids by what they are. */
  pids: Roots;
  /** Oldest first; those that were killed on purpose stay in it. */
  workers: RunningProcess[];
  /** Starts one more worker; resolves when it is there to take runs. */
  addWorker(): Promise<RunningProcess>;
  /** `kill -9`, as part of what is measured. */
  kill(worker: RunningProcess): Promise<void>;
  /** Rejects, with what it printed last, when a process ends before `stop()`. */
  broken: Promise<never>;
  stop(): Promise<void>;
}

export interface StackOptions {
  /** Where the model is, instead of a process of its own. */
  modelUrl?: string;
  /** For the server, over the product's defaults. */
  serverEnv?: Record<string, string>;
  /** For workers, over the product's defaults. */
  workerEnv?: Record<string, string>;
}

interface DevFile {
  publishableKey: string;
}

export async function startStack(say: (line: string) => void, options: StackOptions = {}): Promise<Stack> {
  const folder = benchFolder(join(REPOSITORY, ".data"));
  mkdirSync(folder, { recursive: true });
  sweepAbandoned(dirname(folder));
  const started: (() => Promise<unknown>)[] = [() => Promise.resolve(rmSync(folder, { recursive: true, force: true }))];
  let isStopping = false;
  /** Whose end was asked for. */
  const retired = new Set<RunningProcess>();
  let breakDown = (_error: Error): void => {};
  const broken = new Promise<never>((_, reject) => {
    breakDown = reject;
  });
  broken.catch(() => {});
  const stop = async (): Promise<void> => {
    isStopping = true;
    for (const end of started.toReversed()) await end();
  };
  const run = (options: Parameters<typeof startProcess>[0]): RunningProcess => {
    const child = startProcess(options);
    started.push(() => child.stop());
    void child.exited.then(({ code, signal }) => {
      if (isStopping || retired.has(child)) return;
      breakDown(new Error(`${child.name} ended (${signal ?? code}); it printed last:\n${child.logs().slice(-2_000)}`));
    });
    return child;
  };

  try {
    say("starting Postgres, Redis and the fake model …");
    const postgres = await startEmbeddedPostgres({
      dir: join(folder, "postgres"),
      durable: true,
      detached: false,
      say,
    });
    started.push(() => postgres.stop());
    const redisPort = await freePort();
    const redis = run({
      name: "redis",
      program: requireProgram("redis"),
      args: ["--port", String(redisPort), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder],
    });
    await redis.waitForOutput(/Ready to accept connections/);
    const model = options.modelUrl
      ? null
      : run({ name: "model", args: ["testing/src/model-server-main.ts", "--tokens", "200"] });
    const modelUrl = options.modelUrl ?? (await model?.waitForOutput(/listening on (\S+)/))?.[1] ?? "";

    say("starting the server and the worker …");
    const port = await freePort();
    const env = {
      DATABASE_URL: postgres.ownerUrl,
      REDIS_URL: `redis://127.0.0.1:${redisPort}`,
      SECRET_KEY: randomBytes(32).toString("hex"),
      OPENAI_BASE_URL: modelUrl,
      DATA_DIR: join(folder, "data"),
      PORT: String(port),
      DEMO_PORT: "0",
      CONSOLE_PORT: "0",
    };
    const apiUrl = `http://127.0.0.1:${port}`;
    const startServer = async (): Promise<RunningProcess> => {
      const started = run({
        name: "server",
        args: ["scripts/start.ts"],
        env: { ...env, ...options.serverEnv, ROLE: "server" },
      });
      await started.waitUntilReady(`${apiUrl}/readyz`, 90_000);
      return started;
    };
    // The first start migrates and seeds, which is no part of what is measured: it is the second one that serves.
    const first = await startServer();
    const dev = await waitFor(() => readDevFile(join(env.DATA_DIR, "dev.json")), { describe: "dev.json" });
    retired.add(first);
    await first.stop();
    const server = await startServer();
    const workers: RunningProcess[] = [];
    const addWorker = async (): Promise<RunningProcess> => {
      const name = `worker ${workers.length}`;
      const workerEnv = { ...env, ...options.workerEnv, PORT: "0", ROLE: "worker" };
      const worker = run({ name, args: ["scripts/start.ts"], env: workerEnv });
      workers.push(worker);
      await worker.waitForOutput(/Ready in/);
      return worker;
    };
    const worker = await addWorker();

    return {
      endpoint: {
        apiUrl,
        publishableKey: dev.publishableKey,
        origin: DEMO_ORIGIN,
      },
      modelUrl,
      databaseUrl: postgres.ownerUrl,
      pids: {
        server: server.pid,
        worker: worker.pid,
        postgres: postgres.pid,
        redis: redis.pid,
        ...(model ? { model: model.pid } : {}),
        client: process.pid,
      },
      workers,
      addWorker,
      kill: async (victim) => {
        retired.add(victim);
        victim.signal("SIGKILL");
        await victim.exited;
      },
      broken,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function readDevFile(path: string): DevFile {
  return JSON.parse(readFileSync(path, "utf8")) as DevFile;
}
