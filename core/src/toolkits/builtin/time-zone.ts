/** True for an IANA name such as `Europe/Berlin` or `UTC`; an offset is none, since it knows no summer. */
export function isTimeZone(name: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/.test(name)) return false;
  try {
    return Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}

export interface LocalTime {
  /** ISO 8601 with the zone's offset, for instance `2026-11-23T00:40:00+01:00`. */
  time: string;
  weekday: string;
}

/** A moment as clocks in the zone show it, to the second. */
export function localTime(atMs: number, timeZone: string): LocalTime {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    calendar: "iso8601",
    numberingSystem: "latn",
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
    weekday: "long",
  });
  const parts = Object.fromEntries(format.formatToParts(atMs).map(({ type, value }) => [type, value]));
  const { year, month, day, hour, minute, second, weekday = "" } = parts;
  const clock = `${year?.padStart(4, "0")}-${month}-${day}T${hour}:${minute}:${second}`;
  const offsetMinutes = Math.round((Date.parse(`${clock}Z`) - Math.floor(atMs / 1000) * 1000) / 60_000);
  return { time: `${clock}${offsetOf(offsetMinutes)}`, weekday };
}

function offsetOf(minutes: number): string {
  if (minutes === 0) return "Z";
  const pad = (value: number) => String(value).padStart(2, "0");
  const size = Math.abs(minutes);
  return `${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
}
