import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

type CollectGarbage = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

const LOOK_MS = 2_000;
/** Of the event loop's time. */
const QUIET = 0.1;
/** A minute. */
const LOOKS_AFTER_WORK = 30;

/**
 * Gives back what starting has left behind, when the process is first quiet for two seconds: some 25 MB of source texts
 * and half-filled pages. And what work has left, once it has been quiet for a minute. V8's own way of doing so is turned
 * off (`--no-memory-reducer`): it comes after eight seconds, and the next hundred streams wait for a small heap to grow.
 * Costs a tenth of a second, in which there is nothing to do.
 */
export function collectWhenQuiet(collect = collectEverything, lookMs = LOOK_MS): void {
  const look = whenQuiet(collect);
  let before = performance.eventLoopUtilization();
  setInterval(() => {
    look(performance.eventLoopUtilization(before).utilization);
    // What collecting takes is no work.
    before = performance.eventLoopUtilization();
  }, lookMs).unref();
}

/** Is told how busy the event loop was since the last look, from 0 to 1, and calls back when it is time. */
export function whenQuiet(collect: () => void): (utilization: number) => void {
  let isDue = true;
  let quietLooks = 0;
  let wanted = 1;
  return (utilization) => {
    if (utilization > QUIET) {
      isDue = true;
      quietLooks = 0;
      return;
    }
    if (!isDue || ++quietLooks < wanted) return;
    isDue = false;
    wanted = LOOKS_AFTER_WORK;
    collect();
  };
}

/** By the `gc` of `--expose-gc`, which nobody else gets to see. */
export function collectEverything(): void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as CollectGarbage;
  setFlagsFromString("--no-expose-gc");
  collect({ type: "major", execution: "sync", flavor: "last-resort" });
}
