import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  claimFor,
  doorbellOf,
  jobsOf,
  killWorker,
  openSpine,
  openTenant,
  startConversation,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { idempotent } from "../idempotency/idempotent.ts";
import { newId, uuidOf } from "../ids.ts";
import { cancelRun } from "../runs/cancel-run.ts";
import { claimRun } from "../runs/claim-run.ts";
import { getRun } from "../runs/get-run.ts";
import { resumeRun } from "../runs/resume-run.ts";
import { registerWorker } from "../workers/worker-registry.ts";
import { pruneOnce, startDispatcher, sweepOnce } from "./dispatcher.ts";
import { pickRuns } from "./pick-runs.ts";
import type { Doorbell } from "./run-queue.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

beforeEach(async () => {
  await spine.owner.query("delete from workers; update jobs set state = 'done'; update runs set status = 'failed'");
  await spine.owner.query("update conversation_heads set run_id = null");
  spine.rung.length = 0;
});

async function queued(of = tenant): Promise<string> {
  const { run } = await ask(of.ctx, await startConversation(of));
  return run.id;
}

/** So many runs waiting while no worker has a free slot. */
async function backlog(of: TestTenant, n: number): Promise<string[]> {
  const full = await addWorker(spine, 0);
  await spine.owner.query("update workers set active = slots");
  const runs: string[] = [];
  for (let i = 0; i < n; i++) runs.push(await queued(of));
  await spine.owner.query("update workers set active = 0");
  await killWorker(spine, full);
  return runs;
}

const stateOf = async (runId: string) => (await jobsOf(spine, runId)).at(-1)?.state;
/** A worker takes as many of those who wait as it has places; answers them. */
async function pick(workerUuid: string, places = 64, queueClass: QueueClass = "priority"): Promise<string[]> {
  const picked = await pickRuns(spine.services, { workerUuid, queueClass, places });
  return picked.map(({ runId }) => runId);
}
const sweep = () => sweepOnce(spine.services);

/** The doorbell was rung so long ago that it must be lost. */
async function loseDoorbell(runId: string): Promise<void> {
  await spine.owner.query("update jobs set dispatched_at = now() - interval '1 minute' where run_id = $1", [
    uuidOf(runId),
  ]);
}

describe("handing over", () => {
  test("happens at once while there are free places or no worker yet, and later when there are none", async () => {
    const early = await queued();
    expect(spine.rung).toMatchObject([{ runId: early, handOver: 1 }]);
    const full = await addWorker(spine, 0);
    const late = await queued();
    expect(await stateOf(late)).toBe("pending");
    expect(spine.rung).toHaveLength(1);
    expect(await pick(full, 0)).toEqual([]);
    await spine.owner.query("update workers set slots = 10 where id = $1", [full]);
    // While others wait, nobody overtakes them.
    const last = await queued();
    expect(await stateOf(last)).toBe("pending");
    expect(await pick(full)).toEqual([late, last]);
    expect(await pick(full)).toEqual([]);
    const next = await queued();
    expect(spine.rung.map(({ runId }) => runId)).toEqual([early, next]);
  });

  test("counts doorbells that nobody has answered yet as places taken", async () => {
    await addWorker(spine, 3);
    const runs = [await queued(), await queued(), await queued(), await queued()];
    expect(await Promise.all(runs.map(stateOf))).toEqual(["dispatched", "dispatched", "dispatched", "pending"]);
  });

  test("is in order within a tenant, and a queue class of its own", async () => {
    const runs = await backlog(tenant, 8);
    const worker = await addWorker(spine, 100);
    expect(await pick(worker, 64, "standard")).toEqual([]);
    expect([...(await pick(worker, 5)), ...(await pick(worker))]).toEqual(runs);
  });

  test("takes turns among tenants: a newcomer behind 200 runs of another is among the first three", async () => {
    const [heavy, newcomer] = [await openTenant(spine), await openTenant(spine)];
    await backlog(heavy, 200);
    const [first] = await backlog(newcomer, 2);
    const worker = await addWorker(spine, 1_000);
    const picked = [await pick(worker)];
    expect(picked[0]).toHaveLength(64);
    expect(picked[0]?.slice(0, 3)).toContain(first);
    while (picked.at(-1)?.length) picked.push(await pick(worker));
    expect(picked.flat()).toHaveLength(202);
    expect(new Set(picked.flat()).size).toBe(202);
  });

  test("counts what a tenant has under way in the class already: one that has nothing goes first", async () => {
    const [busy, idle] = [await openTenant(spine), await openTenant(spine)];
    const worker = await addWorker(spine, 100);
    for (let i = 0; i < 3; i++) await work(spine, worker, await queued(busy));
    await backlog(busy, 3);
    const waiting = await backlog(idle, 3);
    expect((await pick(worker)).slice(0, 3)).toEqual(waiting);
  });

  test("lets a run go on that was under way already, before those that have not begun", async () => {
    const [busy, idle] = [await openTenant(spine), await openTenant(spine)];
    const [dead, worker] = [await addWorker(spine), await addWorker(spine, 100)];
    const runs = [await queued(busy), await queued(busy)];
    for (const runId of runs) await work(spine, dead, runId);
    await backlog(idle, 2);
    await killWorker(spine, dead);
    await sweep();
    expect((await pick(worker, 2)).toSorted()).toEqual(runs.toSorted());
  });

  test("to several workers at once gives each run to one of them", async () => {
    await backlog(tenant, 40);
    const workers = await Promise.all(Array.from({ length: 5 }, () => addWorker(spine, 100)));
    const picked = await Promise.all(workers.map((worker) => pick(worker, 10)));
    expect(picked.map(({ length }) => length).toSorted((a, b) => a - b)).toEqual([0, 10, 10, 10, 10]);
    expect(new Set(picked.flat()).size).toBe(40);
  });
});

describe("a conversation's queued runs", () => {
  test("go one by one, in the order of their messages, whatever the clocks of the servers that took them", async () => {
    const worker = await addWorker(spine);
    const conversationId = await startConversation(tenant);
    const { run: first } = await ask(tenant.ctx, conversationId);
    const ahead = { ...tenant.ctx, services: { ...spine.services, newId: idsFrom(3_600_000) } };
    const { run: second } = await ask(ahead, conversationId);
    const { run: third } = await ask(tenant.ctx, conversationId);
    expect(second.id > third.id).toBe(true);
    spine.rung.length = 0;
    for (const [run, next] of [
      [first, second],
      [second, third],
    ] as const) {
      await (await work(spine, worker, run.id)).complete();
      expect(spine.rung.at(-1)).toMatchObject({ runId: next.id, handOver: 1 });
    }
    expect(spine.rung).toHaveLength(2);
  });

  test("join the backlog when there is one", async () => {
    const worker = await addWorker(spine);
    const conversationId = await startConversation(tenant);
    const { run: first } = await ask(tenant.ctx, conversationId);
    const { run: second } = await ask(tenant.ctx, conversationId);
    const running = await work(spine, worker, first.id);
    await backlog(tenant, 1);
    await spine.owner.query("update workers set slots = 0");
    const before = spine.rung.length;
    await running.complete();
    expect(await stateOf(second.id)).toBe("pending");
    expect(spine.rung).toHaveLength(before);
  });
});

describe("the sweeper rings again for", () => {
  test("a run whose worker's heartbeat ran out, once, and nothing else", async () => {
    const [dead, alive] = [await addWorker(spine), await addWorker(spine)];
    const [orphan, fine] = [await queued(), await queued()];
    await work(spine, dead, orphan);
    await work(spine, alive, fine);
    expect(await sweep()).toBe(0);
    await killWorker(spine, dead);
    expect(await sweep()).toBe(1);
    expect(await sweep()).toBe(0);
    expect(await jobsOf(spine, orphan)).toEqual([
      { handOver: 1, state: "done" },
      { handOver: 2, state: "pending" },
    ]);
    expect(await pick(alive)).toEqual([orphan]);
    expect(await sweep()).toBe(0);
    expect(await claimFor(spine, alive, orphan)).toMatchObject({ kind: "takeover" });
    expect(await sweep()).toBe(0);
  });

  test("a run whose worker left without a trace", async () => {
    const worker = await addWorker(spine);
    const runId = await queued();
    await work(spine, worker, runId);
    await spine.owner.query("delete from workers");
    expect(await sweep()).toBe(1);
  });

  test("a lost doorbell, of a new run, of one that goes on and of one that is taken over; not of a young one", async () => {
    const worker = await addWorker(spine);
    const fresh = await queued();
    expect(await sweep()).toBe(0);
    const resumed = await queued();
    const { id } = await (await work(spine, worker, resumed)).wait({ reason: "operator" });
    await resumeRun(tenant.ctx, { runId: resumed, interruptId: id, decision: "retry" });
    const orphan = await queued();
    const dead = await addWorker(spine);
    await work(spine, dead, orphan);
    await killWorker(spine, dead);
    await sweep();
    await pick(worker);
    for (const runId of [fresh, resumed, orphan]) await loseDoorbell(runId);
    expect(await sweep()).toBe(3);
    for (const runId of [fresh, resumed, orphan]) {
      expect(await stateOf(runId)).toBe("pending");
      expect((await jobsOf(spine, runId)).filter(({ state }) => state !== "done")).toHaveLength(1);
    }
    expect(await sweep()).toBe(0);
    await pick(worker);
    expect(await claimFor(spine, worker, resumed)).toMatchObject({ kind: "resume", resolution: { decision: "retry" } });
  });

  test("all of them in the end, however many there are and however few it takes at a time", async () => {
    const dead = await addWorker(spine);
    const orphans = await Promise.all(Array.from({ length: 4 }, () => queued()));
    for (const runId of orphans) await claimFor(spine, dead, runId);
    const lost = await Promise.all(Array.from({ length: 4 }, () => queued()));
    await killWorker(spine, dead);
    for (const runId of lost) await loseDoorbell(runId);
    const rung: string[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const { rows } = await spine.owner.query<{ run_id: string }>("select run_id from sweep_runs('10 seconds', 2)");
      expect(rows).toHaveLength(2);
      rung.push(...rows.map(({ run_id }) => run_id.replaceAll("-", "")));
    }
    expect(rung.toSorted()).toEqual([...orphans, ...lost].map(uuidOf).toSorted());
    expect(await sweep()).toBe(0);
  });

  test("a blocked run whose turn has come, in order", async () => {
    const conversationId = await startConversation(tenant);
    const { run: first } = await ask(tenant.ctx, conversationId);
    const { run: second } = await ask(tenant.ctx, conversationId);
    const { run: third } = await ask(tenant.ctx, conversationId);
    await spine.owner.query("update jobs set created_at = now() - interval '1 minute'");
    expect(await sweep()).toBe(0);
    await spine.owner.query("update runs set status = 'failed' where id = $1", [uuidOf(first.id)]);
    await spine.owner.query("update jobs set state = 'done' where run_id = $1", [uuidOf(first.id)]);
    expect(await sweep()).toBe(1);
    expect(await stateOf(second.id)).toBe("pending");
    expect(await stateOf(third.id)).toBe("blocked");
    expect(await sweep()).toBe(0);
  });
});

describe("the sweeper does not ring for", () => {
  test("a run that moved on without its doorbell: it settles the doorbell", async () => {
    const worker = await addWorker(spine);
    const [running, waiting, cancelled] = [await queued(), await queued(), await queued()];
    await work(spine, worker, running);
    await (await work(spine, worker, waiting)).wait({ reason: "approval" });
    await cancelRun(tenant.ctx, cancelled);
    await spine.owner.query("update jobs set state = 'dispatched', dispatched_at = now() - interval '1 minute'");
    const before = await Promise.all([running, waiting, cancelled].map((runId) => doorbellOf(spine, runId)));
    expect(await sweep()).toBe(0);
    for (const [index, runId] of [running, waiting, cancelled].entries()) {
      expect(await jobsOf(spine, runId)).toEqual([{ handOver: 1, state: "done" }]);
      expect(await doorbellOf(spine, runId)).toEqual(before[index]);
    }
  });

  test("the doorbell of an earlier hand-over", async () => {
    const runId = await queued();
    await loseDoorbell(runId);
    await sweep();
    await spine.owner.query(
      "update jobs set state = 'dispatched', dispatched_at = now() - interval '1 minute' where hand_over = 1",
    );
    expect(await sweep()).toBe(0);
    expect(await jobsOf(spine, runId)).toEqual([
      { handOver: 1, state: "done" },
      { handOver: 2, state: "pending" },
    ]);
  });

  test("the same run twice, when several sweep at once or while a worker takes it", async () => {
    const worker = await addWorker(spine);
    for (let round = 0; round < 5; round++) {
      const dead = await addWorker(spine);
      const runs = await Promise.all(Array.from({ length: 8 }, () => queued()));
      for (const runId of runs) await claimFor(spine, dead, runId);
      await killWorker(spine, dead);
      const doorbells = await Promise.all(runs.map((runId) => doorbellOf(spine, runId)));
      const [claims, swept] = await Promise.all([
        Promise.all(doorbells.map((doorbell) => claimRun(spine.services, doorbell, worker))),
        Promise.all(Array.from({ length: 4 }, sweep)),
      ]);
      expect(swept.reduce((sum, n) => sum + n, 0)).toBeLessThanOrEqual(8);
      for (const [index, runId] of runs.entries()) {
        const { handOver } = await doorbellOf(spine, runId);
        expect(handOver).toBeLessThanOrEqual(2);
        const open = (await jobsOf(spine, runId)).filter(({ state }) => state !== "done");
        expect(open).toEqual(handOver === 2 ? [{ handOver: 2, state: "pending" }] : []);
        if (!claims[index]) expect(await claimFor(spine, worker, runId)).toMatchObject({ kind: "takeover" });
      }
    }
  });
});

test("the dispatcher does all of this by itself, and stops", async () => {
  const worker = await addWorker(spine);
  const [runId] = await backlog(tenant, 1);
  const orphan = await queued();
  const dead = await addWorker(spine);
  await claimFor(spine, dead, orphan);
  await killWorker(spine, dead);
  const answered: Doorbell[] = [];
  const dispatcher = startDispatcher(spine.services, {
    uuid: worker,
    turns: () => [{ queueClass: "priority", places: 8 }],
    answer: async (_queueClass, doorbell) => void answered.push(doorbell),
  });
  await waitFor(() => answered.some((one) => one.runId === runId), { describe: "the backlog to be taken" });
  await waitFor(() => answered.some((one) => one.runId === orphan && one.handOver === 2), {
    describe: "the orphan to be taken",
  });
  await dispatcher.stop();
  expect(await claimFor(spine, worker, orphan)).toMatchObject({ kind: "takeover" });
  expect(await getRun(tenant.ctx, orphan)).toMatchObject({ status: "running" });
});

describe("workers", () => {
  test("register, keep their heartbeat, and are forgotten when they leave or have long been dead", async () => {
    const gone = await addWorker(spine);
    await spine.owner.query("update workers set expires_at = now() - interval '2 days'");
    const lease = await registerWorker(spine.services, { slots: 7, active: () => 3 });
    const rows = async () =>
      (await spine.owner.query("select id, slots, active, expires_at > now() as lives from workers")).rows;
    expect(await rows()).toEqual([{ id: lease.uuid, slots: 7, active: 3, lives: true }]);
    expect(gone).not.toBe(lease.uuid);
    expect(lease.isHeld()).toBe(true);
    await spine.owner.query("update workers set expires_at = now() - interval '1 second', active = 0");
    await waitFor(async () => (await rows())[0]?.lives, { describe: "the next heartbeat" });
    expect(await rows()).toMatchObject([{ active: 3 }]);
    expect(lease.hasEnded()).toBe(false);
    await lease.stop();
    expect(lease.isHeld()).toBe(false);
    expect(lease.hasEnded()).toBe(true);
    expect(await rows()).toEqual([]);
  });
});

test("saved responses are forgotten after a day, and not before", async () => {
  const keys = Array.from({ length: 5 }, (_, index) => `prune-${index}`);
  for (const key of keys) {
    await idempotent(tenant.ctx, { key, route: "POST /test", body: {}, status: 201 }, async () => ({}));
  }
  expect(await pruneOnce(spine.services)).toMatchObject({ responses: 0 });
  await spine.owner.query("update idempotency_keys set created_at = now() - interval '25 hours' where key = any ($1)", [
    keys.slice(0, 3),
  ]);
  expect(await pruneOnce(spine.services)).toMatchObject({ responses: 3 });
  const { rows } = await spine.owner.query("select key from idempotency_keys where key like 'prune-%' order by 1");
  expect(rows).toEqual([{ key: "prune-3" }, { key: "prune-4" }]);
});

test("hand-overs that are over are forgotten after a week, in portions; dead letters and whoever waits are not", async () => {
  await spine.owner.query("delete from jobs");
  const daysAgo = async (days: number, state: string) => {
    const services = { ...spine.services, newId: idsFrom(-days * 24 * 3_600_000) };
    const { run } = await ask({ ...tenant.ctx, services }, await startConversation(tenant));
    await spine.owner.query("update jobs set state = $2 where run_id = $1", [uuidOf(run.id), state]);
    return run.id;
  };
  for (let i = 0; i < 3; i++) await daysAgo(8, "done");
  const kept = [
    await daysAgo(8, "dead"),
    await daysAgo(8, "pending"),
    await daysAgo(8, "blocked"),
    await daysAgo(6, "done"),
  ];
  const { rows } = await spine.owner.query("select prune_jobs('7 days', 2) as pruned");
  expect(rows).toEqual([{ pruned: 2 }]);
  expect(await pruneOnce(spine.services)).toMatchObject({ jobs: 1 });
  const left = await spine.owner.query<{ id: string }>("select run_id::text as id from jobs");
  expect(left.rows.map(({ id }) => id.replaceAll("-", "")).toSorted()).toEqual(kept.map(uuidOf).toSorted());
});

/** Ids of a server whose clock is so far ahead, or behind. */
function idsFrom(aheadMs: number): Spine["services"]["newId"] {
  return (prefix) => {
    const id = newId(prefix);
    const ms = Number.parseInt(uuidOf(id).slice(0, 12), 16) + aheadMs;
    return `${prefix}_${ms.toString(16).padStart(12, "0")}${uuidOf(id).slice(12)}`;
  };
}

describe("the log's partitions", () => {
  const names = async () =>
    (
      await spine.owner.query<{ name: string }>(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = 'events'::regclass order by 1",
      )
    ).rows.map(({ name }) => name);

  test("are there a year ahead, and making them again, also at once, changes nothing", async () => {
    const before = await names();
    expect(before).toHaveLength(14);
    await Promise.all(
      Array.from({ length: 4 }, () => spine.services.db.pool.query("select ensure_event_partitions_ahead()")),
    );
    expect(await names()).toEqual(before);
  });

  test("made by several processes at once, as at the turn of a month, are made once", async () => {
    const before = await names();
    await spine.owner.query(`drop table ${before.at(-1) === "events_default" ? before.at(-2) : before.at(-1)}`);
    await Promise.all(
      Array.from({ length: 6 }, () => spine.services.db.pool.query("select ensure_event_partitions_ahead()")),
    );
    expect(await names()).toEqual(before);
  });

  test("hold a new conversation's events; the default holds none", async () => {
    await queued();
    const { rows } = await spine.owner.query("select count(*)::int as n from events_default");
    expect(rows).toEqual([{ n: 0 }]);
  });
});
