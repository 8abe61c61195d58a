import { join } from "node:path";
import { Writable } from "node:stream";
import type { Config } from "@agent-engine/core/config/env.ts";
import { createLogger } from "@agent-engine/core/log.ts";
import { pino, type Logger } from "pino";

interface Line {
  level: number;
  msg?: string;
  err?: { message?: string };
}

const ERROR_LEVEL = 50;

/** One short line, without fields and stacks: those are in the log file. */
export function terminalLine(line: Line): string {
  const parts = [line.msg, line.err?.message].filter((part) => part !== undefined && part !== "");
  return `${line.level >= ERROR_LEVEL ? "error" : "warning"}: ${parts.join(": ")}\n`;
}

function terminal(): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      process.stderr.write(terminalLine(JSON.parse(chunk.toString()) as Line), () => done());
    },
  });
}

/** Machines collect the standard output in production and of split roles, as JSON and nothing else. */
export function isForMachines({ nodeEnv, role }: Config): boolean {
  return nodeEnv === "production" || role !== "all";
}

export interface StartLogger {
  log: Logger;
  /** Where the whole log is; null when it goes to the standard output. */
  file: string | null;
}

/**
 * For machines on the standard output. For a person at a terminal the whole log goes to a file that begins anew with
 * each start, and only warnings reach the screen.
 */
export function startLogger(config: Config): StartLogger {
  if (isForMachines(config)) return { log: createLogger(config), file: null };
  const file = join(config.dataDir, "log.jsonl");
  const streams = pino.multistream([
    { level: "trace", stream: pino.destination({ dest: file, append: false }) },
    { level: "warn", stream: terminal() },
  ]);
  return { log: createLogger(config, streams), file };
}
