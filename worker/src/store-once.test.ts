import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import fc from "fast-check";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { storeOnce } from "./store-once.ts";

const log = pino({ level: "silent" });
const lostConnection = () => new Error("Connection terminated unexpectedly");

/** A fenced write on a database whose connection breaks as told, before or after it has done it. */
function world(breaks: readonly ("before" | "after" | "while asking")[]) {
  let [stored, tries] = [0, 0];
  const faults = [...breaks];
  return {
    stored: () => stored,
    tries: () => tries,
    async write() {
      tries++;
      const fault = faults[0] === "while asking" ? undefined : faults.shift();
      if (fault === "before") throw lostConnection();
      if (stored > 0) throw new LeaseLost("run_1");
      stored++;
      if (fault === "after") throw lostConnection();
    },
    async wasStored() {
      if (faults[0] === "while asking") {
        faults.shift();
        throw lostConnection();
      }
      return stored > 0;
    },
  };
}

describe("a write under a fence", () => {
  test("happens once, whatever breaks", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom("before" as const, "after" as const, "while asking" as const), { maxLength: 4 }),
        async (breaks) => {
          const { write, wasStored, stored } = world(breaks);
          await storeOnce({ write, wasStored, log, signal: new AbortController().signal });
          expect(stored()).toBe(1);
        },
      ),
      { numRuns: 12 },
    );
  });

  test("that is refused the first time is refused: somebody else has the lease", async () => {
    const write = () => Promise.reject(new LeaseLost("run_1"));
    const wasStored = () => Promise.reject(new Error("nobody asks"));
    await expect(storeOnce({ write, wasStored, log, signal: new AbortController().signal })).rejects.toThrow(LeaseLost);
  });

  test("that is refused after a break, and is not there, was somebody else's", async () => {
    let tries = 0;
    const write = () => Promise.reject(tries++ === 0 ? lostConnection() : new LeaseLost("run_1"));
    const signal = new AbortController().signal;
    await expect(storeOnce({ write, wasStored: async () => false, log, signal })).rejects.toThrow(LeaseLost);
  });

  test("is given up when the worker stops", async () => {
    const stop = new AbortController();
    const write = async () => {
      stop.abort(new Error("its worker stops"));
      throw lostConnection();
    };
    const wasStored = async () => false;
    await expect(storeOnce({ write, wasStored, log, signal: stop.signal })).rejects.toThrow("its worker stops");
  });

  test("is not tried again for what is no fault of the connection", async () => {
    let tries = 0;
    const write = () => {
      tries++;
      return Promise.reject(Object.assign(new Error("too long"), { code: "22001" }));
    };
    const signal = new AbortController().signal;
    await expect(storeOnce({ write, wasStored: async () => true, log, signal })).rejects.toThrow("too long");
    expect(tries).toBe(1);
  });
});
