/** 10,000 requests to every route, made from its own schema. A failure names its seed. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultRateLimits, parseRateLimits } from "@agent-engine/core/config/rate-limits.ts";
import { fuzzRoutes } from "./fuzz-routes-fixture.ts";
import { startServerFixture, type ServerFixture } from "./server-fixture.ts";

const NUM_RUNS = 10_000;
/** Half a million requests, on however small a machine. */
const AT_MOST_MS = 4 * 3_600_000;
const DAY_MS = 86_400_000;

let fixture: ServerFixture;
beforeAll(async () => {
  // A limit that is reached would hide the routes behind it.
  const rateLimits = { ...defaultRateLimits("test"), ...parseRateLimits("all=100000000") };
  fixture = await startServerFixture({ rateLimits });
});
afterAll(() => fixture.stop());

test(
  "10,000 requests a route: none makes the API fail, and every refusal says what to do",
  async () => {
    // Other requests every day, the same ones when a failure is looked into.
    const seed = Math.floor(Date.now() / DAY_MS);
    const { routes, statuses } = await fuzzRoutes(fixture, { numRuns: NUM_RUNS, seed });
    expect(Object.values(statuses).reduce((sum, each) => sum + each, 0)).toBe(routes * NUM_RUNS);
    expect(fixture.logged.filter(({ level }) => Number(level) >= 50)).toEqual([]);
  },
  AT_MOST_MS,
);
