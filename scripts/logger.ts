import { join } from "node:path";
import { Writable } from "node:stream";
import type { Config } from "@agent-engine/core/config/env.ts";
import { pino, type Logger } from "pino";

interface Line {
  level: number;
  time: number;
  msg?: string;
  err?: { message?: string };
}

const WARN = 40;
const ERROR = 50;

function terminalLine(line: Line): string {
  const time = new Date(line.time).toTimeString().slice(0, 8);
  const parts = [line.msg, line.err?.message].filter((part) => part !== undefined && part !== "");
  return `${time} ${line.level >= ERROR ? "error" : "warning"}: ${parts.join(": ")}\n`;
}

/** Warnings and errors only, one short line each. */
function terminal(): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      process.stderr.write(terminalLine(JSON.parse(chunk.toString()) as Line), () => done());
    },
  });
}

export interface StartLogger {
  log: Logger;
  /** Where the whole log is; null when it goes to the standard output. */
  file: string | null;
}

/**
 * Where machines collect logs (production, split roles) it is JSON on the standard output. For a person at a terminal
 * the whole log goes to a file that begins anew with each start, and only warnings reach the screen.
 */
export function createLogger(config: Config): StartLogger {
  if (config.nodeEnv === "production" || config.role !== "all") {
    return { log: pino({ level: config.logLevel, base: { role: config.role } }), file: null };
  }
  const file = join(config.dataDir, "log.jsonl");
  const log = pino(
    { level: config.logLevel, base: null },
    pino.multistream([
      { level: config.logLevel === "silent" ? "fatal" : config.logLevel, stream: pino.destination({ dest: file, append: false }) },
      { level: WARN, stream: terminal() },
    ] as Parameters<typeof pino.multistream>[0]),
  );
  return { log, file };
}
