/** CPU and memory of processes and everything they started, from Linux's /proc; null elsewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

/** Linux reports CPU time in hundredths of a second, whatever the kernel's own tick. */
const TICKS_PER_SECOND = 100;

interface Stat {
  pid: number;
  parent: number;
  /** Own CPU time and that of ended children. */
  ticks: number;
}

function readStat(pid: number): Stat | null {
  try {
    // The command's name stands in brackets and may hold anything: fields are counted from behind it.
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index]), 0);
    return { pid, parent: Number(fields[1]), ticks };
  } catch {
    return null;
  }
}

/** Every process below the roots, by the name of the nearest root above it (or itself). */
function families(roots: Roots): Map<string, Stat[]> {
  const names = new Map(Object.entries(roots).map(([name, pid]) => [pid, name]));
  const all = new Map(
    readdirSync("/proc")
      .filter((entry) => /^\d+$/.test(entry))
      .flatMap((entry) => readStat(Number(entry)) ?? [])
      .map((stat) => [stat.pid, stat]),
  );
  const found = new Map(Object.keys(roots).map((name): [string, Stat[]] => [name, []]));
  for (const stat of all.values()) {
    let at: Stat | undefined = stat;
    while (at && !names.has(at.pid)) at = all.get(at.parent);
    if (at) found.get(names.get(at.pid) ?? "")?.push(stat);
  }
  return found;
}

/** Process ids by what they are. */
export type Roots = Record<string, number>;
/** A number for each of them. */
export type ByProcess = Record<string, number>;

/**
 * CPU seconds used so far by each named process, descendants included that have no name of their own; `others` is what
 * the machine spent besides (the kernel's own work, and whatever else disturbs the measurement).
 */
export function cpuSeconds(roots: Roots): ByProcess | null {
  const named = measure(roots, (stats) => stats.reduce((sum, stat) => sum + stat.ticks, 0) / TICKS_PER_SECOND);
  if (!named) return null;
  const ours = Object.values(named).reduce((sum, seconds) => sum + seconds, 0);
  return { ...named, others: machineSeconds() - ours };
}

/** CPU seconds that all processors together were busy since the machine started. */
function machineSeconds(): number {
  const fields = readFileSync("/proc/stat", "utf8").split("\n")[0]?.trim().split(/\s+/).slice(1).map(Number) ?? [];
  const [user = 0, nice = 0, system = 0, _idle, _iowait, irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/** Resident memory in MB, likewise. */
export function residentMb(roots: Roots): ByProcess | null {
  return measure(roots, (stats) => Math.round(stats.reduce((sum, stat) => sum + residentKb(stat.pid), 0) / 1_024));
}

function measure(roots: Roots, value: (stats: Stat[]) => number): ByProcess | null {
  if (!existsSync("/proc/self/stat")) return null;
  return Object.fromEntries([...families(roots)].map(([name, stats]) => [name, value(stats)]));
}

function residentKb(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

export interface Usage {
  seconds: number;
  /** CPU seconds by process; null where they cannot be read. */
  cpu: ByProcess | null;
}

/** Starts to watch; the returned function tells what was used since. */
export function watchUsage(roots: Roots): () => Usage {
  const startedMs = performance.now();
  const before = cpuSeconds(roots);
  return () => {
    const after = cpuSeconds(roots);
    const cpu =
      before && after
        ? Object.fromEntries(Object.entries(after).map(([name, used]) => [name, used - (before[name] ?? 0)]))
        : null;
    return { seconds: (performance.now() - startedMs) / 1_000, cpu };
  };
}

/** Processor cores kept busy, by process. */
export function coresUsed({ seconds, cpu }: Usage): ByProcess | null {
  return (
    cpu &&
    Object.fromEntries(Object.entries(cpu).map(([name, used]) => [name, Math.round((used / seconds) * 100) / 100]))
  );
}
