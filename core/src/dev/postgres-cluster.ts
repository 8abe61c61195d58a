/**
 * The embedded Postgres's folder: `data/` is a finished cluster, always. A cluster is made in `initialising/` and
 * renamed when complete, so one whose making was interrupted is never mistaken for a usable one.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Account, PostgresBinaries } from "./postgres-binaries.ts";

export const DATABASE_OWNER = "owner";

export interface ClusterFolder {
  data: string;
  /** Of DATABASE_OWNER. */
  password: string;
  logFile: string;
}

export interface ClusterOptions {
  /** Absolute; made if need be. */
  dir: string;
  account: Account;
  binaries: PostgresBinaries;
  /** False trades safety on power loss for speed; for tests. */
  durable: boolean;
  /** Told what a person should know. */
  say: (message: string) => void;
}

function give(path: string, account: Account): void {
  if (account !== null) chownSync(path, account.uid, account.gid);
}

/** What every finished cluster has, and what an interrupted copy or a cleaned-up folder lacks. */
function looksComplete(data: string): boolean {
  return ["PG_VERSION", "global/pg_control", "postgresql.conf", "base"].every((part) => existsSync(join(data, part)));
}

function runInitdb(target: string, passwordFile: string, options: ClusterOptions): Promise<void> {
  // The builtin provider sorts and folds the same on every machine, whatever locales it has.
  const flags = ["--encoding=UTF8", "--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"];
  const child = spawn(
    options.binaries.initdb,
    [
      `--pgdata=${target}`,
      `--username=${DATABASE_OWNER}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      ...flags,
      ...(options.durable ? [] : ["--no-sync"]),
    ],
    { ...options.account, cwd: options.dir, stdio: ["ignore", "ignore", "pipe"] },
  );
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (stderr += chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      if (code === 0) resolve();
      else reject(new Error(`The embedded database could not be created in ${options.dir}: ${stderr.trim()}`));
    });
  });
}

/** Makes the cluster unless it is there already. Idempotent. */
export async function prepareCluster(options: ClusterOptions): Promise<ClusterFolder> {
  const { dir, account } = options;
  const data = join(dir, "data");
  const making = join(dir, "initialising");
  const passwordFile = join(dir, "password");
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  give(dir, account);

  if (existsSync(making)) {
    options.say("An earlier start was interrupted while it created the database; creating it anew.");
    rmSync(making, { recursive: true });
  }
  if (existsSync(data) && !(looksComplete(data) && existsSync(passwordFile))) {
    const aside = `${data}.incomplete-${Date.now()}`;
    renameSync(data, aside);
    options.say(`The database in ${data} is incomplete. It was moved to ${aside}, and a new one is created.`);
  }
  if (!existsSync(data)) {
    writeFileSync(passwordFile, randomBytes(24).toString("base64url"), { mode: 0o600 });
    give(passwordFile, account);
    await runInitdb(making, passwordFile, options);
    renameSync(making, data);
  }
  return { data, password: readFileSync(passwordFile, "utf8").trim(), logFile: join(dir, "postgres.log") };
}
