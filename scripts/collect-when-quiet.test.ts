import { expect, test } from "vitest";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { collectEverything, collectWhenQuiet } from "./collect-when-quiet.ts";

const LOOK_MS = 20;

/** An event loop that has no time to spare. */
async function busyFor(ms: number): Promise<void> {
  const until = performance.now() + ms;
  while (performance.now() < until) {
    const turnEnds = performance.now() + LOOK_MS / 2;
    while (performance.now() < turnEnds);
    await new Promise((done) => setImmediate(done));
  }
}

test("collects once, when the process is quiet and not before", async () => {
  let collections = 0;
  collectWhenQuiet(() => collections++, LOOK_MS);
  await busyFor(10 * LOOK_MS);
  expect(collections).toBe(0);
  await waitFor(() => collections > 0, { describe: "the collection" });
  let looks = 0;
  await waitFor(() => ++looks > 10, { describe: "ten more looks", intervalMs: LOOK_MS });
  expect(collections).toBe(1);
});

test("takes what nobody holds any more", async () => {
  const litter = new WeakRef({});
  // What a reference was asked for in this turn of the event loop is held until its end.
  await new Promise((done) => setImmediate(done));
  collectEverything();
  expect(litter.deref()).toBeUndefined();
  expect(globalThis).not.toHaveProperty("gc");
});
