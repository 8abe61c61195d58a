import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import { expect, test } from "vitest";
import { RunAbandoned } from "./engine/effects.ts";
import { runFault } from "./run-fault.ts";

const coded = (code: string) => Object.assign(new Error(`code ${code}`), { code });

test.each<[unknown, string | null]>([
  [new LeaseLost("run_1"), null],
  [new RunAbandoned("its worker stops"), null],
  [new Error("Connection terminated unexpectedly"), null],
  [new Error("the run's events cannot be stored", { cause: coded("ECONNRESET") }), null],
  [coded("57P01"), null],
  [coded("40P01"), null],
  [coded("53200"), null],
  [new Error("the run's events cannot be stored", { cause: coded("22P05") }), "code 22P05"],
  [coded("57014"), null],
  [new TypeError("x is not a function"), "x is not a function"],
  ["text", "text"],
])("of %s: %s", (error, expected) => {
  expect(runFault(error)).toBe(expected);
});
