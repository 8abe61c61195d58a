/**
 * One embedded Postgres for a test run, with a migrated template database that each test file clones (tens of
 * milliseconds, where migrating takes seconds). Needs no test runner, so benchmarks use it too.
 */
import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startEmbeddedPostgres } from "@agent-engine/core/dev/embedded-postgres.ts";
import { migrate } from "@agent-engine/core/db/migrate.ts";
import pg from "pg";
import { pino } from "pino";

export interface TestDatabase {
  /** As the owner; the product makes its serving role from it. */
  ownerUrl: string;
  drop(): Promise<void>;
}

export interface TestCluster {
  /** The template database's URL: enough for `cloneDatabase` in another process. */
  templateUrl: string;
  /** The folder of the server's data and log. */
  dir: string;
  pid: number;
  stop(): Promise<void>;
}

const FOLDER = "agent-engine-test-postgres-";

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A run that was killed leaves its server and its folder; the next run clears them away. */
function sweepAbandonedClusters(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(FOLDER))) {
    const folder = join(tmpdir(), name);
    try {
      if (isAlive(Number(readFileSync(join(folder, "test-run.pid"), "utf8")))) continue;
      const postmaster = Number(
        readFileSync(join(folder, "postgres", "data", "postmaster.pid"), "utf8").split("\n")[0],
      );
      if (isAlive(postmaster)) process.kill(postmaster, "SIGQUIT");
    } catch {
      // Never started, or stopped already.
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

async function administer(url: string, sql: string): Promise<void> {
  const admin = new URL(url);
  admin.pathname = "/postgres";
  const client = new pg.Client({ connectionString: admin.href });
  client.on("error", () => undefined);
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}

/** `durable`: it keeps what it acknowledged through a crash; slower. */
export async function startTestCluster({ durable = false } = {}): Promise<TestCluster> {
  sweepAbandonedClusters();
  const folder = mkdtempSync(join(tmpdir(), FOLDER));
  writeFileSync(join(folder, "test-run.pid"), String(process.pid));
  // mkdtemp makes it private, and as root the server runs under another account.
  chmodSync(folder, 0o755);
  const postgres = await startEmbeddedPostgres({
    dir: join(folder, "postgres"),
    durable,
    detached: false,
    say: () => undefined,
  });
  await migrate(postgres.ownerUrl, pino({ level: "silent" }));
  return {
    templateUrl: postgres.ownerUrl,
    dir: postgres.dir,
    pid: postgres.pid,
    stop: async () => {
      await postgres.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function database(templateUrl: string, name: string): TestDatabase {
  const url = new URL(templateUrl);
  url.pathname = `/${name}`;
  return { ownerUrl: url.href, drop: () => administer(templateUrl, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) };
}

/** A migrated database of its own for a test file. */
export async function cloneDatabase(templateUrl: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString("hex")}`;
  await administer(templateUrl, `CREATE DATABASE ${name} TEMPLATE ${new URL(templateUrl).pathname.slice(1)}`);
  return database(templateUrl, name);
}

/** A database with nothing in it, for tests of the first start. */
export async function emptyDatabase(templateUrl: string): Promise<TestDatabase> {
  const name = `test_${randomBytes(8).toString("hex")}`;
  await administer(templateUrl, `CREATE DATABASE ${name} TEMPLATE template0`);
  return database(templateUrl, name);
}
