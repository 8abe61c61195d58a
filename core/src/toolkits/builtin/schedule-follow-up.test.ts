import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { momentOf } from "./schedule-follow-up.ts";

const NOW = Date.parse("2026-11-22T12:00:00Z");

describe("when a follow-up is due", () => {
  it.each([
    [{ inMinutes: 1 }, "2026-11-22T12:01:00.000Z"],
    [{ inMinutes: 43_200 }, "2026-12-22T12:00:00.000Z"],
    [{ at: "2026-11-23T09:00:00+01:00" }, "2026-11-23T08:00:00.000Z"],
    [{ at: "2026-11-23T09:00Z" }, "2026-11-23T09:00:00.000Z"],
  ])("%j", (args, at) => {
    const moment = momentOf(args, NOW);
    expect(typeof moment === "number" ? new Date(moment).toISOString() : moment).toBe(at);
  });

  it.each([
    {},
    { at: "2026-11-23T09:00:00Z", inMinutes: 5 },
    { inMinutes: 0 },
    { inMinutes: 43_201 },
    { inMinutes: 1.5 },
    { inMinutes: "5" },
    { at: "tomorrow" },
    { at: "2026-11-23T09:00:00" },
    { at: "2026-13-23T09:00:00Z" },
    { at: 5 },
  ])("is not said by %j", (args) => expect(momentOf(args, NOW)).toEqual(expect.any(String)));

  it("is a moment or words, whatever a model sends", () => {
    const value = fc.oneof(fc.anything(), fc.date().map(String), fc.string(), fc.constant(undefined));
    fc.assert(
      fc.property(value, value, (at, inMinutes) => {
        const moment = momentOf({ at, inMinutes }, NOW);
        return typeof moment === "string" ? moment.length > 10 : Number.isInteger(moment);
      }),
    );
  });
});
