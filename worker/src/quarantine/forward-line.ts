import { levels, type Logger } from "pino";

/** A line that another process logged, or that its runtime printed, as one of this process's log. */
export function forwardLine(log: Logger, line: string): void {
  if (line.trim() === "") return;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    log.warn({ quarantine: true, line }, "printed in quarantine");
    return;
  }
  const { level, msg, time: _time, role: _role, ...fields } = parsed as Record<string, unknown>;
  const name = levels.labels[Number(level)];
  const write = name === "trace" || name === "debug" || name === "info" || name === "warn" ? name : "error";
  log[write]({ ...fields, quarantine: true }, typeof msg === "string" ? msg : "printed in quarantine");
}
