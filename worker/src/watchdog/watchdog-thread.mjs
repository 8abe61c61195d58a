/**
 * The watchdog's thread. Plain JavaScript, and importing nothing of ours: a thread that has to strip types loads the
 * stripper for itself, which is as much memory again as the thread's own.
 */
import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";

const LOOK_MS = 1_000;
const STDERR = 2;

/** @type {import("./shared.ts").WatchdogData} */
const { state, indexes, stuckSeconds, parentPid, stuckText } = workerData;
let seen = Atomics.load(state, indexes.turns);
/** Looks rather than seconds: while the whole process is frozen this thread does not look either. */
let still = 0;
let lookedAt = performance.now();

/** @param {string} reason */
function kill(reason) {
  try {
    // The logger belongs to the thread that is stuck.
    writeSync(STDERR, `${JSON.stringify({ level: 60, time: new Date().toISOString(), msg: reason })}\n`);
  } catch {
    // Whoever read it is gone, or does not read: all the more reason to end.
  } finally {
    process.kill(process.pid, "SIGKILL");
  }
}

setInterval(() => {
  const at = performance.now();
  // The first look after a freeze may come before the event loop's first turn.
  const wasFrozen = at - lookedAt > 2 * LOOK_MS;
  lookedAt = at;
  if (wasFrozen) return;
  const now = Atomics.load(state, indexes.turns);
  still = now === seen && Atomics.load(state, indexes.debugged) === 0 ? still + 1 : 0;
  seen = now;
  if ((still * LOOK_MS) / 1_000 >= stuckSeconds) kill(`${stuckText} for ${stuckSeconds} s: the process ends itself`);
  // One that still turns hears of it by its channel, and ends in good order.
  if (parentPid !== null && still > 1 && process.ppid !== parentPid) kill(`${stuckText}, and its worker is gone`);
}, LOOK_MS);
