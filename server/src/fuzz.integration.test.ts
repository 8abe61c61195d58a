/** The short form of `fuzz.long.test.ts`: the same requests from a fixed seed, fewer of them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { fuzzRoutes } from "./fuzz-routes-fixture.ts";
import { startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
beforeAll(async () => {
  fixture = await startServerFixture();
});
afterAll(() => fixture.stop());

const NUM_RUNS = 40;

test("no request makes the API fail, and every refusal says what to do", async () => {
  const { routes, statuses } = await fuzzRoutes(fixture, { numRuns: NUM_RUNS, seed: 20_261_122 });
  const sent = Object.values(statuses).reduce((sum, each) => sum + each, 0);
  expect(sent).toBe(routes * NUM_RUNS);
  // Not everything is refused at the door: the requests come as far as the verbs.
  const accepted = Object.entries(statuses).filter(([status]) => Number(status) < 300);
  expect(accepted.reduce((sum, [, each]) => sum + each, 0)).toBeGreaterThan(sent / 10);
  expect(fixture.logged.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  // However slow the machine: every route is asked, and there are more and more of them.
}, 120_000);
