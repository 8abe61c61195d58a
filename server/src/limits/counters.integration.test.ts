import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createCounters, type Counters, type CountersOptions } from "./counters.ts";

const log = pino({ level: "silent" });
let redis: TestRedis;
const open: Counters[] = [];
let made = 0;

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.stop());
afterEach(() => {
  for (const counters of open.splice(0)) counters.close();
});

function counters(options: Partial<CountersOptions> = {}): Counters {
  const created = createCounters({ redisUrl: null, log, clock: Date.now, ...options });
  open.push(created);
  return created;
}

const shared = () => counters({ redisUrl: redis.url });
const someone = () => `test:${++made}`;
const isAdmitted = async (by: Counters, key: string, limit: number) => (await by.add(key, limit)).place <= limit;

async function admitted(requests: Promise<boolean>[]): Promise<number> {
  return (await Promise.all(requests)).filter(Boolean).length;
}

/** Resolves once a server's counts are those of Redis. */
async function untilShared(...servers: Counters[]): Promise<void> {
  const witness = shared();
  await waitFor(
    async () => {
      const key = someone();
      for (const server of servers) await server.add(key, 100);
      return (await witness.add(key, 100)).place === servers.length + 1;
    },
    { describe: "servers that count together" },
  );
}

describe.each([1, 2, 3])("%i servers with one Redis", (servers) => {
  test("admit exactly the limit, however many ask at once and whoever they ask", async () => {
    const all = Array.from({ length: servers }, shared);
    await untilShared(...all);
    for (const limit of [1, 7, 40]) {
      const key = someone();
      const requests = Array.from({ length: limit * 3 }, (_, n) =>
        isAdmitted(all[n % servers] as Counters, key, limit),
      );
      expect(await admitted(requests)).toBe(limit);
    }
  });

  test("go on counting where others left off", async () => {
    const all = Array.from({ length: servers }, shared);
    await untilShared(...all);
    const key = someone();
    for (const server of all) for (let n = 0; n < 4; n++) expect(await isAdmitted(server, key, 4 * servers)).toBe(true);
    for (const server of all) expect(await isAdmitted(server, key, 4 * servers)).toBe(false);
  });
});

test("who is far from the limit waits for nobody, and is counted all the same", async () => {
  const [one, other] = [shared(), shared()];
  await untilShared(one, other);
  const key = someone();
  await one.add(key, 1_000);
  for (let n = 2; n <= 100; n++) expect(one.add(key, 1_000)).toMatchObject({ place: n });
  await waitFor(async () => (await other.add(key, 150)).place > 100, { describe: "the others' count" });
});

test("who is over the limit is refused without asking, until the window ends", async () => {
  let nowMs = Date.now();
  const alone = counters({ clock: () => nowMs });
  const key = someone();
  for (let n = 0; n < 3; n++) await alone.add(key, 3);
  const refused = alone.add(key, 3);
  expect(refused).toMatchObject({ place: 4 });
  expect((refused as { leftMs: number }).leftMs).toBeGreaterThan(55_000);
  nowMs += 61_000;
  expect(await alone.add(`${key}'s next window`, 3)).toMatchObject({ place: 1 });
});

test("without Redis each server counts for itself, and nobody waits for what does not answer", async () => {
  const own = await startRedis();
  const [one, other] = [counters({ redisUrl: own.url }), counters({ redisUrl: own.url })];
  const key = someone();
  await waitFor(async () => (await one.add(someone(), 10)).place === 1, { describe: "a first count" });
  await own.stop();
  expect(await admitted(Array.from({ length: 10 }, () => isAdmitted(one, key, 4)))).toBe(4);
  expect(await admitted(Array.from({ length: 10 }, () => isAdmitted(other, key, 4)))).toBe(4);
});

test("the number remembered has an end", async () => {
  const alone = counters();
  for (let n = 0; n < 100_500; n++) await alone.add(`one:${n}`, 10);
  expect(alone.size).toBe(100_000);
});

test("places are 1, 2, 3 … in any order of asking, with any limits", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 60 }), async (limits) => {
      const alone = counters();
      const places = await Promise.all(limits.map(async (limit) => alone.add("key", Math.max(limit, limits.length))));
      expect(places.map(({ place }) => place)).toEqual(limits.map((_, n) => n + 1));
      alone.close();
    }),
    { numRuns: 50 },
  );
});
