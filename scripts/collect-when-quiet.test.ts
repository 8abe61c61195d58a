import { expect, test } from "vitest";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { collectEverything, collectWhenQuiet, whenQuiet } from "./collect-when-quiet.ts";

test("collects when it is first quiet, and a minute after work", () => {
  let collections = 0;
  const look = whenQuiet(() => collections++);
  const looks = (utilization: number, times: number): number => {
    for (let time = 0; time < times; time++) look(utilization);
    return collections;
  };
  expect(looks(0.5, 3)).toBe(0);
  expect(looks(0.05, 1)).toBe(1);
  expect(looks(0.05, 100)).toBe(1);
  expect(looks(0.5, 1)).toBe(1);
  expect(looks(0.05, 29)).toBe(1);
  // A minute without a pause.
  expect(looks(0.5, 1)).toBe(1);
  expect(looks(0.05, 29)).toBe(1);
  expect(looks(0.05, 1)).toBe(2);
  expect(looks(0.05, 100)).toBe(2);
});

test("looks at the process's own event loop", async () => {
  let collections = 0;
  collectWhenQuiet(() => collections++, 20);
  await waitFor(() => collections > 0, { describe: "the collection" });
});

test("takes what nobody holds any more", async () => {
  const litter = new WeakRef({});
  // What a reference was asked for in this turn of the event loop is held until its end.
  await new Promise((done) => setImmediate(done));
  collectEverything();
  expect(litter.deref()).toBeUndefined();
  expect(globalThis).not.toHaveProperty("gc");
});
