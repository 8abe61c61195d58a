import pg from "pg";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { freePort } from "../dev/free-port.ts";
import { migrate } from "../db/migrate.ts";
import { newId } from "../ids.ts";
import type { QueueBackend } from "./brokers.ts";
import type { Outbox } from "./outbox.ts";
import { openRunQueue, type Doorbell, type Listener, type RunQueue } from "./run-queue.ts";

const log = pino({ level: "silent" });
let redis: TestRedis;
let database: TestDatabase;
let queues: RunQueue[] = [];
let listeners: Listener[] = [];

beforeAll(async () => {
  [redis, database] = await Promise.all([startRedis(), createTestDatabase()]);
});
afterAll(() => Promise.all([redis.stop(), database.drop()]));
afterEach(async () => {
  for (const listener of listeners) await listener.stop();
  for (const queue of queues) await queue.close();
  [queues, listeners, putBack] = [[], [], []];
});

/** What went back into the outbox of the queues opened since the last look. */
let putBack: (Doorbell | "all")[] = [];
const outbox: Outbox = {
  putBack: async (one) => void putBack.push(one),
  putBackAll: async () => void putBack.push("all"),
};

function openAt(backend: QueueBackend): RunQueue {
  const queue = openRunQueue(backend, outbox, log);
  queues.push(queue);
  return queue;
}

async function listen(
  queue: RunQueue,
  answer: (doorbell: Doorbell) => Promise<void>,
  concurrency = 16,
): Promise<Listener> {
  const listener = await queue.listen("priority", concurrency, answer);
  listeners.push(listener);
  return listener;
}

function doorbell(handOver = 1, runId: string = newId("run")): Doorbell {
  return { runId, handOver, correlationId: "c" };
}

/** A door that answers when it is opened. */
function door() {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open };
}

const backends: [string, () => Promise<QueueBackend>][] = [
  ["Redis", async () => ({ kind: "redis", url: redis.url })],
  ["Postgres", async () => ({ kind: "postgres", url: (await migrate(database.ownerUrl, log)).servingUrl })],
];

describe.each(backends)("on %s", (_name, backendOf) => {
  const open = async () => openAt(await backendOf());

  test("a doorbell reaches a listener whole, whether it listens before or after, from another process's queue", async () => {
    const [ringing, listening] = [await open(), await open()];
    const [early, late] = [doorbell(), doorbell(7)];
    await ringing.ring("priority", early);
    const heard: Doorbell[] = [];
    await listen(listening, async (one) => void heard.push(one));
    await ringing.ring("priority", late);
    await waitFor(() => heard.length === 2, { describe: "both doorbells" });
    expect(heard).toEqual([early, late]);
  });

  test("classes do not hear each other", async () => {
    const queue = await open();
    const heard: string[] = [];
    listeners.push(await queue.listen("standard", 4, async ({ runId }) => void heard.push(`standard ${runId}`)));
    await listen(queue, async ({ runId }) => void heard.push(`priority ${runId}`));
    const [a, b] = [doorbell(), doorbell()];
    await queue.ring("standard", a);
    await queue.ring("priority", b);
    await waitFor(() => heard.length === 2, { describe: "both" });
    expect(heard.toSorted()).toEqual([`priority ${b.runId}`, `standard ${a.runId}`]);
  });

  test("rung again while it is answered, a doorbell is one; its next hand-over, and itself later, are others", async () => {
    const queue = await open();
    const { opened, open: openDoor } = door();
    const heard: number[] = [];
    await listen(queue, async ({ handOver }) => {
      heard.push(handOver);
      await opened;
    });
    const first = doorbell();
    await queue.ring("priority", first);
    await waitFor(() => heard.length === 1, { describe: "the first" });
    await queue.ring("priority", first);
    await queue.ring("priority", { ...first, handOver: 2 });
    await waitFor(() => heard.length === 2, { describe: "the next hand-over" });
    expect(heard).toEqual([1, 2]);
    openDoor();
    // Whenever the first is done, it may be rung anew: the claim decides what comes of it.
    await waitFor(
      async () => {
        await queue.ring("priority", first);
        return heard.length > 2;
      },
      { describe: "the first once more" },
    );
    expect(heard[2]).toBe(1);
  });

  test("many doorbells are each answered once, by two listeners, never more at once than asked for", async () => {
    const [one, two] = [await open(), await open()];
    const heard: string[] = [];
    let [now, most] = [0, 0];
    const answer = async ({ runId }: Doorbell) => {
      most = Math.max(most, ++now);
      heard.push(runId);
      await new Promise((resolve) => setImmediate(resolve));
      now--;
    };
    await listen(one, answer, 3);
    await listen(two, answer, 3);
    const rung = Array.from({ length: 60 }, () => doorbell());
    await Promise.all(rung.map((each) => one.ring("priority", each)));
    await waitFor(() => heard.length === rung.length, { describe: "all of them" });
    expect(heard.toSorted()).toEqual(rung.map(({ runId }) => runId).toSorted());
    expect(most).toBeLessThanOrEqual(6);
  });

  test("an answer that fails is not repeated, and the next doorbell is heard", async () => {
    const queue = await open();
    const heard: Doorbell[] = [];
    await listen(queue, async (one) => {
      heard.push(one);
      if (heard.length === 1) throw new Error("not today");
    });
    const [bad, good] = [doorbell(), doorbell()];
    await queue.ring("priority", bad);
    await waitFor(() => heard.length === 1, { describe: "the first" });
    await queue.ring("priority", good);
    await waitFor(() => heard.length === 2, { describe: "the second" });
    expect(heard).toEqual([bad, good]);
  });

  test("a listener that stops waits for what it answers and takes nothing more", async () => {
    const queue = await open();
    const { opened, open: openDoor } = door();
    const heard: string[] = [];
    const listener = await queue.listen("priority", 1, async ({ runId }) => {
      heard.push(runId);
      await opened;
    });
    const [first, second] = [doorbell(), doorbell()];
    await queue.ring("priority", first);
    await waitFor(() => heard.length === 1, { describe: "the first" });
    let isStopped = false;
    const stopping = listener.stop().then(() => (isStopped = true));
    await queue.ring("priority", second);
    expect(isStopped).toBe(false);
    openDoor();
    await stopping;
    expect(heard).toEqual([first.runId]);
    await listen(queue, async ({ runId }) => void heard.push(runId));
    await waitFor(() => heard.length === 2, { describe: "the second, by another listener" });
  });
});

describe("a Redis that", () => {
  /** Long enough for a fail-fast client, far too short for one that waits. */
  async function isRungWithin(ms: number, queue: RunQueue): Promise<boolean> {
    const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), ms).unref());
    return Promise.race([queue.ring("priority", doorbell()).then(() => true), late]);
  }

  test("dies and comes back, empty: ringing neither throws nor hangs meanwhile, and listeners go on by themselves", async () => {
    const queue = openAt({ kind: "redis", url: redis.url });
    const heard: string[] = [];
    await listen(queue, async ({ runId }) => void heard.push(runId));
    const before = doorbell();
    await queue.ring("priority", before);
    await waitFor(() => heard.length === 1, { describe: "a doorbell before" });
    await redis.kill();
    expect(await isRungWithin(2_000, queue)).toBe(true);
    await redis.restart();
    const after = doorbell();
    await waitFor(
      async () => {
        await queue.ring("priority", after);
        return heard.includes(after.runId);
      },
      { describe: "a doorbell after", timeoutMs: 15_000 },
    );
  });

  test("freezes: ringing gives up after a second, and rings again once it is thawed", async () => {
    const queue = openAt({ kind: "redis", url: redis.url });
    await queue.ring("priority", doorbell());
    redis.freeze();
    try {
      expect(await isRungWithin(2_500, queue)).toBe(true);
    } finally {
      redis.thaw();
    }
    const heard: string[] = [];
    await listen(queue, async ({ runId }) => void heard.push(runId));
    const after = doorbell();
    await queue.ring("priority", after);
    await waitFor(() => heard.includes(after.runId), { describe: "a doorbell after" });
  });

  test("was never there: ringing neither throws nor hangs, and closing does neither", async () => {
    const queue = openRunQueue({ kind: "redis", url: `redis://127.0.0.1:${await freePort()}` }, outbox, log);
    const listening = queue.listen("priority", 1, async () => {});
    expect(await isRungWithin(2_000, queue)).toBe(true);
    expect(putBack).toContainEqual(expect.objectContaining({ handOver: 1 }));
    await listening;
    await queue.close();
  });
});

describe("without the broker", () => {
  const away: [string, { begin: () => unknown; end: () => unknown }][] = [
    ["killed", { begin: () => redis.kill(), end: () => redis.restart() }],
    ["frozen", { begin: () => redis.freeze(), end: () => redis.thaw() }],
  ];

  test.each(away)("%s: doorbells go back to the outbox, and those it held too", async (_name, { begin, end }) => {
    const [listening, ringing] = [openAt({ kind: "redis", url: redis.url }), openAt({ kind: "redis", url: redis.url })];
    const heard: string[] = [];
    await listen(listening, async ({ runId }) => void heard.push(runId));
    const before = doorbell();
    await ringing.ring("priority", before);
    await waitFor(() => heard.length === 1, { describe: "a doorbell before" });
    await begin();
    const meanwhile = Array.from({ length: 3 }, () => doorbell());
    try {
      for (const one of meanwhile) await ringing.ring("priority", one);
      expect(putBack.filter((one) => one !== "all")).toEqual(meanwhile);
      // Only who listens loses something.
      await waitFor(() => putBack.includes("all"), { describe: "the loss to be noticed" });
    } finally {
      await end();
    }
    const after = doorbell();
    await waitFor(
      async () => {
        await ringing.ring("priority", after);
        return heard.includes(after.runId);
      },
      { describe: "a doorbell over the broker" },
    );
    expect(putBack.filter((one) => one === "all")).toEqual(["all"]);
  });
});

test("a Postgres that cuts every connection: listeners go on by themselves", async () => {
  const queue = openAt({ kind: "postgres", url: (await migrate(database.ownerUrl, log)).servingUrl });
  const heard: string[] = [];
  await listen(queue, async ({ runId }) => void heard.push(runId));
  await queue.ring("priority", doorbell());
  await waitFor(() => heard.length === 1, { describe: "a doorbell before" });
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  const { rows } = await owner.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
  );
  expect(rows.length).toBeGreaterThan(0);
  await owner.end();
  const after = doorbell();
  await waitFor(
    async () => {
      await queue.ring("priority", after);
      return heard.includes(after.runId);
    },
    { describe: "a doorbell after", timeoutMs: 15_000 },
  );
});
