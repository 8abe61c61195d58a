/**
 * Starts real processes (a server, a worker, `npm start`) for tests and benchmarks, and leaves none behind.
 *
 * The environment is hermetic: what a person has set for development does not reach them. Every process carries a
 * marker in its environment, which its descendants inherit, also those that leave its group (an embedded Postgres);
 * `stop()`, the end of this process, and the next test run after a killed one find them by it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import NODE_FLAGS from "../../scripts/node-flags.json" with { type: "json" };
import { processEnvironment, type Environment } from "@agent-engine/core/config/env.ts";
import { waitFor, type Truthy } from "./wait-for.ts";

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

const MARKER = "AGENT_ENGINE_TEST_PROCESS";
/** What a process may see of this one's environment. */
const INHERITED = ["PATH", "HOME", "TMPDIR", "LANG", "SystemRoot"];
const KEPT_LOG_BYTES = 4_000_000;
const OUTPUT_GRACE_MS = 200;

export interface ProcessOptions {
  /** For messages. */
  name: string;
  /** A script below the repository's root and its arguments, run by this Node; or with `program`, just arguments. */
  args: readonly string[];
  program?: string;
  env?: Environment;
  cwd?: string;
}

export interface ExitStatus {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface RunningProcess {
  name: string;
  pid: number;
  /** stdout and stderr so far, the newest 4 MB. */
  logs(): string;
  /** Resolves when it ended, however. */
  exited: Promise<ExitStatus>;
  isRunning(): boolean;
  /** Resolves with the match once the output has it. Rejects with the logs' end when the process ends first. */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Resolves once the URL answers 2xx. Rejects with the logs' end when the process ends first. */
  waitUntilReady(url: string, timeoutMs?: number): Promise<void>;
  /** Reads its output no more: what it prints from now on breaks, as when whoever started it is gone. */
  closeOutput(): void;
  /** To the process alone: SIGKILL, SIGSTOP, SIGCONT, … */
  signal(signal: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after `graceMs` (default 10,000), for it and everything it started. */
  stop(graceMs?: number): Promise<ExitStatus>;
}

const running = new Map<string, ChildProcess>();
let isPrepared = false;

export function startProcess(options: ProcessOptions): RunningProcess {
  prepare();
  const marker = `${process.pid}.${randomUUID()}`;
  const child = spawn(
    options.program ?? process.execPath,
    options.program ? options.args : [...NODE_FLAGS, ...options.args],
    {
      cwd: options.cwd ?? REPOSITORY,
      env: { ...inherited(), ...options.env, [MARKER]: marker },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    },
  );
  running.set(marker, child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-KEPT_LOG_BYTES);
    });
  }
  let status: ExitStatus | null = null;
  const exited = new Promise<ExitStatus>((done) => {
    const finish = (end: ExitStatus): void => {
      status = end;
      done(end);
    };
    child.once("error", (error) => {
      output += String(error);
      finish({ code: null, signal: null });
    });
    // Its last output comes by "close", which descendants that hold the pipe can delay for good.
    child.once("exit", (code, signal) => {
      const timer = setTimeout(() => finish({ code, signal }), OUTPUT_GRACE_MS);
      child.once("close", () => {
        clearTimeout(timer);
        finish({ code, signal });
      });
    });
  });

  const describeEnd = (): string =>
    `${options.name} ended (${status?.signal ?? status?.code}) — its output ends with:\n${output.slice(-3_000)}`;

  async function until<T>(look: () => T | Promise<T>, what: string, timeoutMs: number): Promise<Truthy<T>> {
    const seen = await waitFor(
      async () => {
        const found = await look();
        if (found) return { found: found as Truthy<T> };
        return status ? { found: null } : null;
      },
      { timeoutMs, describe: () => `${options.name} to ${what}; its output ends with:\n${output.slice(-3_000)}` },
    );
    if (seen.found === null) throw new Error(describeEnd());
    return seen.found;
  }

  return {
    name: options.name,
    pid: child.pid ?? 0,
    logs: () => output,
    exited,
    isRunning: () => status === null,
    waitForOutput: (pattern, timeoutMs = 60_000) => until(() => pattern.exec(output), `print ${pattern}`, timeoutMs),
    waitUntilReady: async (url, timeoutMs = 60_000) => {
      await until(() => answers(url), `answer at ${url}`, timeoutMs);
    },
    closeOutput() {
      child.stdout.destroy();
      child.stderr.destroy();
    },
    signal: (signal) => void child.kill(signal),
    stop: async (graceMs = 10_000) => {
      if (status === null) {
        child.kill("SIGCONT");
        child.kill("SIGTERM");
        const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
        await exited;
        clearTimeout(timer);
      }
      killMarked((value) => value === marker);
      running.delete(marker);
      return exited;
    },
  };
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

function inherited(): Environment {
  const own = processEnvironment();
  return Object.fromEntries(INHERITED.map((name) => [name, own[name]]));
}

/** Once per process: clears away what a killed test run left, and makes sure this one leaves nothing. */
function prepare(): void {
  if (isPrepared) return;
  isPrepared = true;
  killMarked((marker) => !isAlive(Number(marker.split(".")[0])));
  process.on("exit", () => {
    for (const child of running.values()) {
      if (child.pid !== undefined) killGroup(child.pid);
    }
    killMarked((marker) => running.has(marker));
  });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL");
  } catch {
    // The whole group is gone.
  }
}

/** Kills every process whose environment carries a marker that matches. Linux only: elsewhere groups must do. */
function killMarked(matches: (marker: string) => boolean): void {
  if (process.platform !== "linux") return;
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    try {
      const variable = readFileSync(`/proc/${pid}/environ`, "latin1")
        .split("\u0000")
        .find((line) => line.startsWith(`${MARKER}=`));
      if (variable !== undefined && matches(variable.slice(MARKER.length + 1))) process.kill(pid, "SIGKILL");
    } catch {
      // Ended meanwhile, or not ours to read.
    }
  }
}
