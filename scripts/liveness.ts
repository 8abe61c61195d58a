import { statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const EVERY_MS = 5_000;
const DEAD_AFTER_MS = 20_000;

function fileOf(role: string): string {
  return join(tmpdir(), `agent-engine-${role}.alive`);
}

/** Touches a file from the event loop, so that a process without a port can be seen to be alive and not stuck. */
export function keepMarkingAlive(role: string): void {
  const file = fileOf(role);
  writeFileSync(file, "");
  setInterval(() => {
    const now = new Date();
    utimesSync(file, now, now);
  }, EVERY_MS).unref();
}

export function isMarkedAlive(role: string): boolean {
  const mark = statSync(fileOf(role), { throwIfNoEntry: false });
  return mark !== undefined && Date.now() - mark.mtimeMs < DEAD_AFTER_MS;
}
