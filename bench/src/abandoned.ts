/** A benchmark that was killed leaves its folder and its Postgres; the next one clears them away. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const PREFIX = "bench-";

/** The folder of this process's benchmark below `parent`. */
export function benchFolder(parent: string): string {
  return join(parent, `${PREFIX}${process.pid}`);
}

/** Removes the folders below `parent` whose benchmark has ended. */
export function sweepAbandoned(parent: string): void {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith(PREFIX))) {
    if (isAlive(Number(name.slice(PREFIX.length)))) continue;
    const folder = join(parent, name);
    stopPostgres(join(folder, "postgres", "data"));
    rmSync(folder, { recursive: true, force: true });
  }
}

function stopPostgres(data: string): void {
  try {
    const pid = Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]);
    // The number may belong to another process by now.
    if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(data)) process.kill(pid, "SIGQUIT");
  } catch {
    // It never started, or ended by itself.
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
