/**
 * Takes an embedded Postgres down as a crash does (`immediate`: no goodbye, no checkpoint) and starts it again on its
 * port, so that it recovers from its log.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { postgresAccount, postgresBinaries } from "@agent-engine/core/dev/postgres-binaries.ts";
import { waitFor } from "./wait-for.ts";

export interface CrashingPostgres {
  /** Resolves once it takes connections again. */
  crash(): Promise<void>;
  /**
   * Crashes it once more in the middle of its recovery. Answers whether the second crash came in time, as Postgres
   * itself reports; the more there is to recover, the surer it does.
   */
  crashTwice(): Promise<boolean>;
  /** Takes it down and leaves it so until `start`. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

const RECOVERING = "redo starts at";
/** What Postgres logs at a start when the one before ended during recovery. */
const TWICE = "database system was interrupted while in recovery";
const START_TIMEOUT_S = 30;

/** `dir` is the folder of `startEmbeddedPostgres`, which must be `durable` for what it acknowledged to survive. */
export function crashingPostgres(dir: string): CrashingPostgres {
  const account = postgresAccount();
  const { pgCtl } = postgresBinaries(account);
  const data = join(dir, "data");
  const logFile = join(dir, "postgres.log");

  function control(...args: string[]): Promise<void> {
    const log = openSync(logFile, "a");
    const child = spawn(pgCtl, ["-D", data, "-t", String(START_TIMEOUT_S), ...args], {
      ...account,
      cwd: dir,
      // A file: the server inherits it and outlives pg_ctl.
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        if (code === 0) resolve();
        else reject(new Error(`pg_ctl ${args.join(" ")} ended with ${code}; see ${logFile}`));
      });
    });
  }

  /** The log from a position on. */
  function logSince(position: number): string {
    const size = statSync(logFile).size - position;
    if (size <= 0) return "";
    const bytes = Buffer.alloc(size);
    const file = openSync(logFile, "r");
    readSync(file, bytes, 0, size, position);
    closeSync(file);
    return bytes.toString("utf8");
  }

  const stop = () => control("stop", "-m", "immediate", "-w");
  // "restart" alone starts with the settings and the port that it had.
  const start = () => control("restart", "-m", "immediate", "-w");

  return {
    crash: start,
    async crashTwice() {
      const position = statSync(logFile).size;
      await control("restart", "-m", "immediate", "-W");
      await waitFor(() => logSince(position).includes(RECOVERING), {
        describe: "Postgres to recover",
        intervalMs: 1,
        timeoutMs: START_TIMEOUT_S * 1_000,
      });
      process.kill(Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]), "SIGQUIT");
      await start();
      return logSince(position).includes(TWICE);
    },
    stop,
    start,
  };
}
