import { afterEach, expect, test } from "vitest";
import { inspectorPlace, openHeldMemory } from "./held-memory.ts";
import { startProcess } from "./processes.ts";

const MB = 1_000_000;
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

const PROGRAM = `
  const kept = [];
  process.on("SIGUSR2", () => {
    kept.push(Buffer.alloc(${20 * MB}, 1), Array.from({ length: ${MB} }, (_, i) => i + 0.5));
    let litter = Array.from({ length: ${2 * MB} }, (_, i) => ({ i }));
    litter = null;
    console.log("kept " + kept.length);
  });
  setInterval(() => {}, 1_000);
  console.log("ready");
`;

test("what a process holds counts, and what it has let go does not", async () => {
  const place = await inspectorPlace();
  const child = startProcess({ name: "a holder", args: ["--eval", PROGRAM], env: place.env });
  ends.push(() => child.stop(0));
  await child.waitForOutput(/ready/);
  const memory = await openHeldMemory(place);
  ends.push(() => memory.close());
  const before = await memory.held();
  child.signal("SIGUSR2");
  await child.waitForOutput(/kept 2/);
  const grown = (await memory.held()) - before;
  expect(grown).toBeGreaterThan(27 * MB);
  expect(grown).toBeLessThan(32 * MB);
});
