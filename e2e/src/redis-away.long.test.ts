/** The ways to lose Redis that `redis-away.test.ts` leaves out. */
import { afterAll, beforeAll, test } from "vitest";
import { startCluster, type Cluster } from "./cluster.ts";
import { lines, livesThrough, type Outage } from "./redis-outage.ts";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await startCluster({ servers: 2, workers: 2 });
});
afterAll(() => cluster?.stop());

const pass = (all: Cluster) => lines(all, { kind: "pass" });

const outages: [string, Outage][] = [
  ["killed, and empty when it comes back", { begin: ({ redis }) => redis.kill(), end: ({ redis }) => redis.restart() }],
  ["behind lines that swallow everything", { begin: (all) => lines(all, { kind: "blackhole" }), end: pass }],
  [
    "behind lines that are reset and refuse",
    {
      async begin(all) {
        await lines(all, { kind: "refuse" });
        for (const { redisProxy } of [...all.servers, ...all.workers]) redisProxy.cut();
      },
      end: pass,
    },
  ],
];

test.each(outages)("Redis %s", (_name, outage) => livesThrough(cluster, outage));
