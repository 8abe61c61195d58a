/** Redis goes away and comes back while visitors write, read and stop: production's shape, real outages. */
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startCluster, type Cluster } from "./cluster.ts";
import { lines, livesThrough } from "./redis-outage.ts";
import { openScene, SLOW } from "./scene.ts";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ servers: 2, workers: 2 });
});
afterAll(() => cluster?.stop());

test("Redis frozen: visitors write, read and stop as before, and come back to their sockets", () =>
  livesThrough(cluster, { begin: ({ redis }) => redis.freeze(), end: ({ redis }) => redis.thaw() }));

test("Redis behind lines whose far end is gone: the same", () =>
  livesThrough(cluster, {
    begin: (all) => lines(all, { kind: "half-open" }),
    end: (all) => lines(all, { kind: "pass" }),
  }));

test("Redis flushed: nothing is lost, and nobody notices", async () => {
  const scene = await openScene(cluster);
  const { id } = scene.conversation;
  await scene.isLive();
  scene.reader.forget();
  const { run } = await scene.submit(id, SLOW);
  await scene.answers();
  const redis = new Redis(cluster.redis.url);
  await redis.flushall();
  redis.disconnect();
  const { run: next } = await scene.submit(id, "And then?");
  await scene.completed(run.id);
  await scene.completed(next.id);
  await scene.brokerRings();
  expect(scene.reader.seen()).toEqual(["live"]);
  expect(await scene.violations()).toEqual([]);
  scene.close();
});
