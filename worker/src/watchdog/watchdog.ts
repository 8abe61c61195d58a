import { url as inspectorUrl } from "node:inspector";
import { Worker } from "node:worker_threads";
import { DEBUGGED, STUCK, TURNS, type WatchdogData } from "./shared.ts";

const TURN_MS = 500;

export interface WatchdogOptions {
  /** How long the event loop may stand still; 0: for ever. */
  stuckSeconds: number;
  /** The process that this one must not outlive, also when it is stuck. */
  parentPid?: number;
}

/**
 * Ends this process when its event loop has stood still for too long: an endless loop in a run would otherwise keep a
 * core busy for ever, long after another worker has taken the run over. A thread of its own watches, since nothing in
 * this one could. Off while a debugger is attached.
 */
export function startWatchdog({ stuckSeconds, parentPid }: WatchdogOptions): { stop(): Promise<void> } {
  if (stuckSeconds === 0) return { stop: async () => {} };
  const state = new Int32Array(new SharedArrayBuffer(8));
  const turn = (): void => {
    Atomics.add(state, TURNS, 1);
    Atomics.store(state, DEBUGGED, inspectorUrl() === undefined ? 0 : 1);
  };
  turn();
  const timer = setInterval(turn, TURN_MS);
  timer.unref();
  const workerData: WatchdogData = {
    state,
    indexes: { turns: TURNS, debugged: DEBUGGED },
    stuckSeconds,
    parentPid: parentPid ?? null,
    stuckText: STUCK,
  };
  const thread = new Worker(new URL("./watchdog-thread.mjs", import.meta.url), {
    workerData,
    execArgv: [],
    // A few objects: what a thread reserves by default is many times of it.
    resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2, stackSizeMb: 1 },
  });
  thread.unref();
  return {
    async stop() {
      clearInterval(timer);
      await thread.terminate();
    },
  };
}
