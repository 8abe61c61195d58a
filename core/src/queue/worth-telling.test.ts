import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { worthTelling, type Told } from "./worth-telling.ts";

const at = (position: number, seconds = 0): Told => ({ position, expectedDelayMs: seconds * 1_000 });
const after = (now: Told, told: Told, logged = told) => worthTelling(now, { told, logged });

describe("what is worth telling", () => {
  test("the first word is for the log", () => {
    expect(worthTelling(at(3), { told: null, logged: null })).toBe("event");
  });

  test("near the front each place, further behind a twentieth", () => {
    expect(after(at(2), at(3))).toBe("hint");
    expect(after(at(3), at(3))).toBe("nothing");
    expect(after(at(99), at(100))).toBe("nothing");
    expect(after(at(95), at(100))).toBe("hint");
  });

  test("two seconds, or a fifth of a longer time", () => {
    expect(after(at(1, 4), at(1, 5))).toBe("nothing");
    expect(after(at(1, 3), at(1, 5))).toBe("hint");
    expect(after(at(9, 55), at(9, 60))).toBe("nothing");
    expect(after(at(9, 48), at(9, 60))).toBe("hint");
  });

  test("the log again when a number has halved or doubled, and by more than a little", () => {
    expect(after(at(12), at(14), at(24))).toBe("event");
    expect(after(at(3), at(4), at(8))).toBe("hint");
    expect(after(at(60), at(50), at(25))).toBe("event");
    expect(after(at(9, 30), at(9, 40), at(9, 60))).toBe("event");
    expect(after(at(9, 5), at(9, 6), at(9, 20))).toBe("nothing");
  });
});

test("a run that comes steadily nearer from 10,000 is logged a dozen times at most", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 300 }), (from, step) => {
      let [logged, told]: (Told | null)[] = [null, null];
      let events = 0;
      for (let position = from; position > 0; position -= step) {
        const now = at(position, position);
        const worth = worthTelling(now, { told: told ?? null, logged: logged ?? null });
        if (worth === "event") {
          logged = now;
          events++;
        }
        if (worth !== "nothing") told = now;
      }
      expect(events).toBeLessThanOrEqual(12);
    }),
  );
});
