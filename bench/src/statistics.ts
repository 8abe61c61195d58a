/** The nearest-rank percentile, `p` from 0 to 100; NaN without samples. */
export function percentile(samples: readonly number[], p: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export interface Spread {
  p50: number;
  p95: number;
  p99: number;
  max: number;
  count: number;
}

export function spread(samples: readonly number[]): Spread {
  return {
    p50: round(percentile(samples, 50)),
    p95: round(percentile(samples, 95)),
    p99: round(percentile(samples, 99)),
    max: round(percentile(samples, 100)),
    count: samples.length,
  };
}

/** To three decimals: microseconds where the unit is milliseconds. */
export function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
