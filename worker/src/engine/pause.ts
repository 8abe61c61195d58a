import type { EngineEffects } from "./effects.ts";

/** Given as a reason to signals that only end a wait: without one, each abort makes an exception with its stack. */
export const SETTLED = "settled";

/** Waits, or returns early when the signal aborts; never rejects. */
export async function pause(effects: EngineEffects, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted || ms <= 0) return;
  try {
    await effects.sleep(ms, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/**
 * The promise's outcome, or a rejection with the signal's reason, whichever is first: for code that may not honour a
 * signal. What the promise does afterwards is ignored.
 */
export function orAborted<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    Promise.resolve(promise).then(
      (value) => {
        signal.removeEventListener("abort", onAbort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      },
    );
  });
}

export type Timed<T> =
  | { kind: "done"; value: T }
  | { kind: "failed"; error: unknown }
  | { kind: "late" }
  /** The signal was aborted. */
  | { kind: "aborted" };

/** What `act` comes to, but no later than the deadline, whatever it does with the signal it is given. Never rejects. */
export async function withDeadline<T>(
  effects: EngineEffects,
  deadlineMs: number,
  signal: AbortSignal,
  act: (signal: AbortSignal) => Promise<T>,
): Promise<Timed<T>> {
  const settled = new AbortController();
  const late = new AbortController();
  void pause(effects, deadlineMs, settled.signal).then(() => {
    if (!settled.signal.aborted) late.abort();
  });
  const either = AbortSignal.any([signal, late.signal]);
  try {
    const value = await orAborted(
      Promise.resolve().then(() => act(either)),
      either,
    );
    return { kind: "done", value };
  } catch (error) {
    if (signal.aborted) return { kind: "aborted" };
    return late.signal.aborted ? { kind: "late" } : { kind: "failed", error };
  } finally {
    settled.abort(SETTLED);
  }
}
