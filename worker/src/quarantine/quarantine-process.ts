/**
 * A process for runs that others died of: it executes one at a time and has nothing else to lose. Its worker starts it,
 * hands it doorbells and carries its events on; when the worker is gone it gives its run back and ends.
 *
 * Signals are the worker's to answer: a Ctrl-C reaches this process too.
 */
import { writeFileSync } from "node:fs";
import { createLogger } from "@agent-engine/core/log.ts";
import { stopCompiling } from "@agent-engine/core/stop-compiling.ts";
import { LEASE_MS } from "@agent-engine/core/workers/worker-registry.ts";
import { startWatchdog } from "../watchdog/watchdog.ts";
import type { FromQuarantine, ToQuarantine } from "./messages.ts";
import { openCell, type Cell } from "./cell.ts";

/** To give its run back. A machine that is short of time must not make a run look like one that killed its process. */
const STOP_MS = LEASE_MS;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {});

try {
  // When memory runs out for the whole container, this process is the one to go.
  writeFileSync("/proc/self/oom_score_adj", "1000");
} catch {
  // Not Linux.
}

function tell(message: FromQuarantine): void {
  if (process.connected) process.send?.(message, () => {});
}

let cell: Promise<Cell> | null = null;
let isEnding = false;

async function end(): Promise<void> {
  if (isEnding) return;
  isEnding = true;
  stopCompiling();
  setTimeout(() => process.exit(1), 2 * STOP_MS).unref();
  await (await cell)?.stop(STOP_MS);
  process.exit(0);
}

process.on("disconnect", () => void end());
process.on("message", (message: ToQuarantine) => {
  switch (message.kind) {
    case "start": {
      const { settings } = message;
      const log = createLogger({ logLevel: settings.logLevel as "info", role: "worker" });
      startWatchdog({ stuckSeconds: settings.stuckSeconds, parentPid: process.ppid });
      cell = openCell(settings, log, tell);
      cell.catch((error: unknown) => {
        log.error({ err: error }, "a quarantine process cannot start");
        log.flush(() => process.exit(1));
      });
      return;
    }
    case "doorbell":
      void cell?.then((open) => open.answer(message.doorbell));
      return;
    case "control":
      void cell?.then((open) => open.control(message.message));
      return;
    case "stop":
      void end();
  }
});
