/**
 * Where suspect runs go: those that two workers died of. One process at a time is started for them, one run in it at a
 * time, so that the third death takes nothing else along. It begins when it is needed and ends when it is idle.
 */
import { fork, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { getHeapStatistics } from "node:v8";
import { processEnvironment } from "@agent-engine/core/config/env.ts";
import type { Services } from "@agent-engine/core/context.ts";
import type { Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import { endWorker } from "@agent-engine/core/workers/end-worker.ts";
import { within } from "../within.ts";
import { forwardLine } from "./forward-line.ts";
import { exitReason } from "./exit-reason.ts";
import type { FromQuarantine, QuarantineSettings, ToQuarantine } from "./messages.ts";

const PROGRAM = fileURLToPath(new URL("./quarantine-process.ts", import.meta.url));
const IDLE_MS = 30_000;
/** What one run may take, so that it ends long before the machine's memory does; never more than its worker may. */
const HEAP_MB = Math.min(512, Math.floor(getHeapStatistics().heap_size_limit / 2 ** 20));
const KEPT_LINES = 50;

export interface Quarantine {
  /** Puts a doorbell in line; a newer one of the same run takes its place. */
  take(doorbell: Doorbell): void;
  /** Ends the process, which gives its run back. */
  stop(limitMs: number): Promise<void>;
}

interface Cell {
  process: ChildProcess;
  workerUuid: string | null;
  current: Doorbell | null;
  /** The last it printed: a process that runs out of memory says so there. */
  lastLines: string[];
  exited: Promise<void>;
}

export function createQuarantine(
  services: Services,
  settings: Omit<QuarantineSettings, "databaseUrl" | "secretKeys" | "models">,
  options: { idleMs?: number } = {},
): Quarantine {
  const { log } = services;
  const waiting = new Map<string, Doorbell>();
  let cell: Cell | null = null;
  let idle: NodeJS.Timeout | undefined;
  let isStopped = false;

  function advance(): void {
    if (isStopped || cell?.current) return;
    const [next] = waiting.values();
    clearTimeout(idle);
    if (!next) {
      if (cell) idle = setTimeout(dismiss, options.idleMs ?? IDLE_MS).unref();
      return;
    }
    waiting.delete(next.runId);
    cell ??= open();
    cell.current = next;
    log.warn({ runId: next.runId, pid: cell.process.pid }, "a run that two workers died of goes on in quarantine");
    tell(cell, { kind: "doorbell", doorbell: next });
  }

  /** The next doorbell opens another one, whether this one has ended by then or not. */
  function dismiss(): void {
    if (cell) tell(cell, { kind: "stop" });
    cell = null;
  }

  function open(): Cell {
    const child = fork(PROGRAM, {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      execArgv: [`--max-old-space-size=${HEAP_MB}`, ...process.execArgv.filter((flag) => flag.includes("semi-space"))],
      env: { ...processEnvironment(), NODE_OPTIONS: "" },
    });
    const exited = Promise.withResolvers<void>();
    const opened: Cell = { process: child, workerUuid: null, current: null, lastLines: [], exited: exited.promise };
    for (const stream of [child.stdout, child.stderr]) {
      if (!stream) continue;
      createInterface({ input: stream }).on("line", (line) => {
        opened.lastLines = [...opened.lastLines, line].slice(-KEPT_LINES);
        forwardLine(log, line);
      });
    }
    child.on("message", (message: FromQuarantine) => hear(opened, message));
    child.on("error", (error) => log.error({ err: error }, "the quarantine process cannot be reached"));
    // After its last output, unlike `exit`.
    child.once("close", (code, signal) => {
      void onExit(opened, code, signal).finally(exited.resolve);
    });
    const { db, secrets, models } = services;
    tell(opened, {
      kind: "start",
      settings: { ...settings, databaseUrl: db.url, secretKeys: secrets.keys, models },
    });
    return opened;
  }

  function tell({ process: child }: Cell, message: ToQuarantine): void {
    if (child.connected) child.send(message, () => {});
  }

  function hear(from: Cell, message: FromQuarantine): void {
    switch (message.kind) {
      case "ready":
        from.workerUuid = message.workerUuid;
        return;
      case "settled":
        from.current = null;
        advance();
        return;
      case "publish":
        services.bus.publish(message.batch);
        return;
      case "control":
        services.bus.control.publish(message.message);
        return;
      case "ring":
        void services.queue.ring(message.queueClass, message.doorbell);
    }
  }

  async function onExit(ended: Cell, code: number | null, signal: NodeJS.Signals | null): Promise<void> {
    if (cell === ended) cell = null;
    const { workerUuid, current } = ended;
    if (current && code !== 0) {
      const reason = exitReason(code, signal, ended.lastLines);
      log.error({ runId: current.runId, reason }, "a run's quarantine process died");
      if (workerUuid !== null) {
        await endWorker(services, workerUuid, reason).catch((error: unknown) =>
          log.warn({ err: error }, "a quarantine process's end was not recorded"),
        );
      }
    }
    advance();
  }

  const control = services.bus.control.subscribe((message) => {
    if (cell) tell(cell, { kind: "control", message });
  });

  return {
    take(doorbell) {
      if (isStopped) return;
      if (cell?.current?.runId === doorbell.runId) return;
      waiting.set(doorbell.runId, doorbell);
      advance();
    },
    async stop(limitMs) {
      isStopped = true;
      clearTimeout(idle);
      void control.then((leave) => leave());
      const last = cell;
      if (!last) return;
      tell(last, { kind: "stop" });
      await within(limitMs, last.exited);
      last.process.kill("SIGKILL");
    },
  };
}
