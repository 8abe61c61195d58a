import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isTimeZone, localTime } from "./time-zone.ts";

const ZONES = ["UTC", ...Intl.supportedValuesOf("timeZone")];

describe("a time zone", () => {
  it("is an IANA name", () => {
    for (const zone of ZONES) expect([zone, isTimeZone(zone)]).toEqual([zone, true]);
  });

  it.each(["", "Mars/Olympus", "+01:00", "Europe/Berlin ", "../etc/passwd", "U".repeat(100), "Europe\0Berlin"])(
    "is not %j",
    (name) => expect(isTimeZone(name)).toBe(false),
  );

  it("never throws, whatever it is asked", () => {
    const text = fc.string({ unit: "binary-ascii", maxLength: 70 });
    fc.assert(
      fc.property(text, (name) => typeof isTimeZone(name) === "boolean"),
      { numRuns: 100 },
    );
  });
});

describe("the local time", () => {
  it.each([
    ["UTC", "2026-11-22T23:40:00Z", "Sunday"],
    ["Europe/Berlin", "2026-11-23T00:40:00+01:00", "Monday"],
    ["America/New_York", "2026-11-22T18:40:00-05:00", "Sunday"],
    ["Asia/Kathmandu", "2026-11-23T05:25:00+05:45", "Monday"],
    ["America/St_Johns", "2026-11-22T20:10:00-03:30", "Sunday"],
  ])("in %s", (zone, time, weekday) => {
    expect(localTime(Date.parse("2026-11-22T23:40:00.789Z"), zone)).toEqual({ time, weekday });
  });

  it("is always the same moment, to the second, and the weekday of its date", () => {
    const moment = fc.integer({ min: 0, max: Date.parse("2200-01-01T00:00:00Z") });
    fc.assert(
      fc.property(moment, fc.constantFrom(...ZONES), (atMs, zone) => {
        const { time, weekday } = localTime(atMs, zone);
        const date = new Date(`${time.slice(0, 10)}T12:00:00Z`);
        const named = new Intl.DateTimeFormat("en-US", { weekday: "long", timeZone: "UTC" }).format(date);
        // Before 1972 some offsets had seconds; ISO 8601 has no place for them.
        return Math.abs(Date.parse(time) - Math.floor(atMs / 1000) * 1000) < 60_000 && weekday === named;
      }),
    );
  });
});
