/** Something slow to ask for, kept in memory: old is shown at once while the new is on its way, asked for once at a time. */

export interface RememberedOptions<Value> {
  load: () => Promise<Value>;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** Younger than this it is not asked for again. */
  freshMs: number;
  /** Older than this it is not shown any more. */
  staleMs: number;
  /** After a failure nobody is asked for so long, where there is something to show. */
  pauseMs: number;
  /** A failure that nobody waits for. */
  onFailure: (error: unknown) => void;
}

export function remember<Value>(options: RememberedOptions<Value>): () => Promise<Value> {
  const { load, now, freshMs, staleMs, pauseMs, onFailure } = options;
  let kept: { value: Value; at: number } | null = null;
  let loading: Promise<Value> | null = null;
  let failedAt = -Infinity;

  function refresh(): Promise<Value> {
    loading ??= load()
      .then((value) => {
        kept = { value, at: now() };
        return value;
      })
      .catch((error: unknown) => {
        failedAt = now();
        throw error;
      })
      .finally(() => (loading = null));
    return loading;
  }

  return async () => {
    const age = kept ? now() - kept.at : Infinity;
    if (!kept || age > staleMs) return refresh();
    if (age > freshMs && now() - failedAt > pauseMs) refresh().catch(onFailure);
    return kept.value;
  };
}
