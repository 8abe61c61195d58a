/** A real Redis of its own for a test: no persistence, a free port, and the faults that a test wants to cause. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort } from "@agent-engine/core/dev/free-port.ts";
import { requireProgram } from "./programs.ts";
import { waitFor } from "./wait-for.ts";

export interface TestRedis {
  url: string;
  port: number;
  stop(): Promise<void>;
  /** Ends it at once (SIGKILL); everything it held is lost. */
  kill(): Promise<void>;
  /** Starts an empty one on the same port, after `kill`. */
  restart(): Promise<void>;
  /** It keeps its connections and answers nothing (SIGSTOP). */
  freeze(): void;
  thaw(): void;
}

const ATTEMPTS = 3;
const SETTINGS = ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"];

function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(1_000, () => done(false));
    socket.once("data", (data) => done(data.toString().startsWith("+PONG")));
    socket.once("error", () => done(false));
  });
}

async function launch(port: number, folder: string): Promise<ChildProcess> {
  const child = spawn(
    requireProgram("redis"),
    ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, ...SETTINGS],
    { stdio: "ignore" },
  );
  let exited = false;
  child.once("exit", () => (exited = true));
  await waitFor(async () => exited || (await answersPing(port)), { describe: "redis-server to answer" });
  if (exited) throw new Error(`redis-server ended at once; port ${port} may be taken`);
  return child;
}

async function launchOnFreePort(folder: string): Promise<{ child: ChildProcess; port: number }> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    try {
      return { child: await launch(port, folder), port };
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

/** @throws Error that says how to install Redis when the machine has none. */
export async function startRedis(): Promise<TestRedis> {
  const folder = mkdtempSync(join(tmpdir(), "agent-engine-test-redis-"));
  const first = await launchOnFreePort(folder);
  const { port } = first;
  let { child } = first;
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    stop: async () => {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
    kill: () => end(child),
    restart: async () => {
      child = await launch(port, folder);
    },
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
  };
}
