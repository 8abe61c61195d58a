/** Indexes of the memory that the event loop and its watchdog share. */
export const TURNS = 0;
export const DEBUGGED = 1;

export interface WatchdogData {
  state: Int32Array<SharedArrayBuffer>;
  /** Where in it the event loop counts its turns, and says that it is being debugged. */
  indexes: { turns: number; debugged: number };
  stuckSeconds: number;
  parentPid: number | null;
  /** How its last word begins. */
  stuckText: string;
}

/** Begins what the watchdog prints as its last word; whoever started the process knows it by this. */
export const STUCK = "the event loop has stood still";
