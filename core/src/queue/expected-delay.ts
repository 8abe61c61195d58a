/** How long the next ones wait, from how long runs held their places lately. Milliseconds throughout. */

export interface Service {
  /** Places that runs of the class can hold at once. */
  places: number;
  /** For how long the runs under way have held theirs. */
  held: readonly number[];
  /** For how long the last runs that ended had held theirs. */
  served: readonly number[];
}

/** What a run is taken to last while none has ended. */
const UNKNOWN_MS = 5_000;
/** Beyond so many places, and so many runs ahead, the mean says all there is to say. */
const MANY = 256;
const LONGEST_MS = 24 * 3_600_000;

/**
 * Answers after how long the run with so many before it finds a place. Places come free as those who hold them end: each
 * is expected to go on as long as past runs that had lasted as long did, and whoever follows to last the mean.
 */
export function createDelayEstimate({ places, held, served }: Service): (ahead: number) => number {
  const mean = served.length > 0 ? average(served) : Math.max(UNKNOWN_MS, 2 * average(held));
  const count = Math.max(1, places);
  if (count > MANY) return (ahead) => bounded(((ahead + 1) * mean) / count);
  const free = freeTimes(count, held, served, mean);
  const starts: number[] = [];
  return (ahead) => {
    while (starts.length <= Math.min(ahead, MANY)) starts.push(takeFirst(free, mean));
    const last = starts.at(-1) ?? 0;
    return bounded(starts[ahead] ?? last + ((ahead - starts.length + 1) * mean) / count);
  };
}

/** When each place comes free, the first one first. */
function freeTimes(count: number, held: readonly number[], served: readonly number[], mean: number): number[] {
  const left = held.map((ms) => timeLeft(ms, served, mean)).toSorted((a, b) => a - b);
  // More runs than places: places were taken away, and the last ones to end leave none.
  return [...Array<number>(Math.max(0, count - left.length)).fill(0), ...left.slice(0, count)];
}

function timeLeft(heldMs: number, served: readonly number[], mean: number): number {
  if (served.length === 0) return Math.max(mean - heldMs, mean / 2);
  const longer = served.filter((ms) => ms > heldMs);
  return longer.length > 0 ? average(longer) - heldMs : mean / 2;
}

/** The next place that comes free is taken for as long as runs last; answers when that is. */
function takeFirst(free: number[], mean: number): number {
  const first = free.shift() ?? 0;
  const until = first + mean;
  let low = 0;
  let high = free.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((free[middle] ?? 0) <= until) low = middle + 1;
    else high = middle;
  }
  free.splice(low, 0, until);
  return first;
}

function average(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function bounded(ms: number): number {
  return Math.round(Math.min(Math.max(ms, 0), LONGEST_MS));
}
