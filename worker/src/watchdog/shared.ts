/** Indexes of the memory that the event loop and its watchdog share. */
export const TURNS = 0;
export const DEBUGGED = 1;

export interface WatchdogData {
  state: Int32Array<SharedArrayBuffer>;
  stuckSeconds: number;
  parentPid: number | null;
}

/** Begins what the watchdog prints as its last word; whoever started the process knows it by this. */
export const STUCK = "the event loop has stood still";
