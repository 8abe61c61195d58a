import { writeSync } from "node:fs";
import { workerData } from "node:worker_threads";
import { DEBUGGED, STUCK, TURNS, type WatchdogData } from "./shared.ts";

const LOOK_MS = 1_000;
const STDERR = 2;

const { state, stuckSeconds, parentPid } = workerData as WatchdogData;
let seen = Atomics.load(state, TURNS);
/** Looks rather than seconds: while the whole process is frozen this thread does not look either. */
let still = 0;

function kill(reason: string): void {
  // The logger belongs to the thread that is stuck.
  writeSync(STDERR, `${JSON.stringify({ level: 60, time: new Date().toISOString(), msg: reason })}\n`);
  process.kill(process.pid, "SIGKILL");
}

setInterval(() => {
  const now = Atomics.load(state, TURNS);
  still = now === seen && Atomics.load(state, DEBUGGED) === 0 ? still + 1 : 0;
  seen = now;
  if ((still * LOOK_MS) / 1_000 >= stuckSeconds) kill(`${STUCK} for ${stuckSeconds} s: the process ends itself`);
  // One that still turns hears of it by its channel, and ends in good order.
  if (parentPid !== null && still > 1 && process.ppid !== parentPid) kill(`${STUCK}, and its worker is gone`);
}, LOOK_MS);
