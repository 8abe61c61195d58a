/** Where somebody is in line, as they were told. */
export interface Told {
  position: number;
  expectedDelayMs: number;
}

export interface ToldBefore {
  /** The last word of any kind; null: none yet. */
  told: Told | null;
  /** The last word in the log. */
  logged: Told | null;
}

/**
 * `event`: the log should say it, as at first and when a number has halved or doubled and not only by a little.
 * `hint`: the difference is one a reader would notice: a place among the first, a twentieth further behind; two seconds or
 * a fifth of the time.
 */
export function worthTelling(now: Told, { told, logged }: ToldBefore): "event" | "hint" | "nothing" {
  if (!told || !logged) return "event";
  if (isAnother(now.position, logged.position, 10) || isAnother(now.expectedDelayMs, logged.expectedDelayMs, 30_000)) {
    return "event";
  }
  const moved = Math.abs(now.position - told.position) >= Math.max(1, told.position / 20);
  const later = Math.abs(now.expectedDelayMs - told.expectedDelayMs) >= Math.max(2_000, told.expectedDelayMs / 5);
  return moved || later ? "hint" : "nothing";
}

function isAnother(now: number, before: number, least: number): boolean {
  return Math.abs(now - before) >= least && (now * 2 <= before || now >= before * 2);
}
