import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Hint } from "@agent-engine/protocol/realtime.ts";
import {
  addWorker,
  ask,
  claimFor,
  doorbellOf,
  eventNames,
  killWorker,
  openSpine,
  openTenant,
  startConversation,
  work,
  workOn,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import { violations } from "@agent-engine/testing/invariants.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { conversationState } from "../events/conversation-state.ts";
import { uuidOf } from "../ids.ts";
import { cancelRun } from "../runs/cancel-run.ts";
import { resumeRun } from "../runs/resume-run.ts";
import { sweepOnce } from "./dispatcher.ts";
import { tellWaiting } from "./tell-waiting.ts";

interface Asked {
  conversationId: string;
  runId: string;
}

let spine: Spine;
let tenant: TestTenant;
let worker: string;
let leaveHints: () => void;
const hints: Hint[] = [];

beforeAll(async () => {
  spine = await openSpine();
  leaveHints = await spine.services.bus.control.subscribe((message) => {
    if (message.kind === "hint") hints.push(message.hint);
  });
});
afterAll(async () => {
  leaveHints();
  await spine.close();
});

beforeEach(async () => {
  await spine.owner.query("delete from workers; update jobs set state = 'done'; update runs set status = 'failed'");
  await spine.owner.query("update conversation_heads set run_id = null; update queues set served = '{}'");
  hints.length = 0;
  tenant = await openTenant(spine);
  // Two places, both taken, by runs that last two seconds.
  worker = await addWorker(spine, 2);
  await spine.owner.query("update workers set active = 2, served_priority = '{2000,2000,2000}'");
});

async function queued(of = tenant): Promise<Asked> {
  const conversationId = await startConversation(of);
  return { conversationId, runId: (await ask(of.ctx, conversationId)).run.id };
}

/** So many runs that have waited for a second. */
async function waiting(n: number, of = tenant): Promise<Asked[]> {
  const all: Asked[] = [];
  for (let i = 0; i < n; i++) all.push(await queued(of));
  await wait();
  return all;
}

const wait = () =>
  spine.owner.query(
    "update jobs set run_after = now() - interval '1 second', dispatched_at = dispatched_at - interval '1 second'",
  );

/** One look, however short ago the last one was, and the last word. */
async function look(): Promise<void> {
  await spine.owner.query("update jobs set told_at = told_at - interval '1 minute' where told_at > '-infinity'");
  do await spine.owner.query("update queues set looked_at = '-infinity'");
  while (await tellWaiting(spine.services, "priority"));
}

/** What the log says of a run's place, in order. */
async function logged({ conversationId }: Asked): Promise<{ position: number; expectedDelayMs: number }[]> {
  const { rows } = await spine.owner.query<{ value: { position: number; expectedDelayMs: number } }>(
    "select event->'value' as value from events where conversation_id = $1 and event->>'name' = 'run.queued' order by seq",
    [uuidOf(conversationId)],
  );
  return rows.map(({ value }) => value);
}

const positions = async (runs: readonly Asked[]) =>
  Promise.all(runs.map(async (run) => (await logged(run)).map(({ position }) => position)));

describe("a run that waits for a place", () => {
  test("is told its place and the time it may take after half a second, once, and readers hear of it at once", async () => {
    const [first, second] = await waiting(2);
    const late = await queued();
    const heard: number[] = [];
    const { leave, inForce } = spine.services.bus.subscribe(second!.conversationId, ({ events }) =>
      heard.push(...events.map(({ seq }) => seq)),
    );
    await inForce;
    await look();
    await look();
    leave();
    expect(await positions([first!, second!, late])).toEqual([[1], [2], []]);
    expect(heard).toEqual([4]);
    const state = await conversationState(tenant.ctx, { conversationId: second!.conversationId }, "all");
    expect(state.runs[second!.runId]).toMatchObject({ status: "queued", queue: { position: 2 } });
    // Nothing is known of those who run: one place is expected to be free in a moment, the next after two seconds at most.
    for (const { expectedDelayMs } of [...(await logged(first!)), ...(await logged(second!))]) {
      expect(expectedDelayMs).toBeGreaterThanOrEqual(0);
      expect(expectedDelayMs).toBeLessThanOrEqual(2_000);
    }
  });

  test("counts as waiting also when its doorbell was rung and nobody answered", async () => {
    await spine.owner.query("update workers set active = 0");
    const rung = await queued();
    await spine.owner.query("update workers set active = 2");
    const [next] = await waiting(1);
    await look();
    expect(await positions([rung, next!])).toEqual([[1], [2]]);
  });

  test("hears of each step near the front by hints, and from the log when a number has halved", async () => {
    const runs = await waiting(25);
    const [last] = runs.slice(-1);
    await look();
    expect(await positions([last!])).toEqual([[25]]);
    hints.length = 0;
    await cancelRun(tenant.ctx, runs[0]!.runId);
    await look();
    expect(hints.find(({ runId }) => runId === last!.runId)).toBeUndefined();
    expect(hints.find(({ runId }) => runId === runs[1]!.runId)).toMatchObject({
      conversationId: runs[1]!.conversationId,
      name: "run.queued",
      value: { position: 1 },
    });
    for (const { runId } of runs.slice(1, 5)) await cancelRun(tenant.ctx, runId);
    await look();
    expect(hints.findLast(({ runId }) => runId === last!.runId)?.value).toMatchObject({ position: 20 });
    expect(await positions([last!])).toEqual([[25]]);
    for (const { runId } of runs.slice(5, 18)) await cancelRun(tenant.ctx, runId);
    await look();
    expect(await positions([last!])).toEqual([[25, 7]]);
    expect(hints.findLast(({ runId }) => runId === last!.runId)?.value).toMatchObject({ position: 7 });
  });

  test("is not told something else every moment", async () => {
    const runs = await waiting(3);
    await look();
    await cancelRun(tenant.ctx, runs[0]!.runId);
    await spine.owner.query("update queues set looked_at = '-infinity'");
    await tellWaiting(spine.services, "priority");
    expect(hints).toEqual([]);
    await look();
    expect(new Map(hints.map(({ runId, value }) => [runId, value["position"]]))).toEqual(
      new Map([
        [runs[1]!.runId, 1],
        [runs[2]!.runId, 2],
      ]),
    );
  });

  test("behind the front is told too, and again once it has come much nearer", async () => {
    const runs = await waiting(230);
    await look();
    expect(await positions(runs.slice(-1))).toEqual([[230]]);
    for (const { runId } of runs.slice(0, 12)) await cancelRun(tenant.ctx, runId);
    await spine.owner.query("update queues set looked_deep_at = '-infinity'");
    hints.length = 0;
    await look();
    // A twentieth of the way is not worth a word that far behind; in the front each step is.
    expect(hints.some(({ runId }) => runId === runs.at(-1)!.runId)).toBe(false);
    expect(hints.some(({ runId }) => runId === runs[12]!.runId)).toBe(true);
  });

  test("stands behind tenants that have fewer runs, in the order in which they are taken", async () => {
    const other = await openTenant(spine);
    const mine = await waiting(3);
    const theirs = await waiting(1, other);
    await look();
    expect(await positions([...mine, ...theirs])).toEqual([[1], [3], [4], [2]]);
  });

  test("keeps what it was told when its doorbell is rung anew", async () => {
    const [run] = await waiting(1);
    await look();
    await spine.owner.query(
      "update jobs set state = 'dispatched', dispatched_at = now() - interval '1 minute' where run_id = $1",
      [uuidOf(run!.runId)],
    );
    expect(await sweepOnce(spine.services)).toBe(1);
    await wait();
    await look();
    expect(await positions([run!])).toEqual([[1]]);
  });

  test("at its tenant's cap is told its place among its tenant's runs", async () => {
    await spine.owner.query("update tenants set max_running = 1 where id = $1", [uuidOf(tenant.id)]);
    await spine.owner.query("update workers set active = 0");
    const running = await queued();
    await work(spine, worker, running.runId);
    const held = await waiting(2);
    await look();
    expect(await positions(held)).toEqual([[1], [2]]);
  });
});

describe("nothing is told of", () => {
  test("a run behind another one of its conversation, until that has ended and it waits for a place", async () => {
    await spine.owner.query("update workers set active = 0, slots = 100");
    const conversationId = await startConversation(tenant);
    const { run: first } = await ask(tenant.ctx, conversationId);
    const { run: second } = await ask(tenant.ctx, conversationId);
    const running = await work(spine, worker, first.id);
    await spine.owner.query("update workers set active = slots");
    await waiting(1);
    await look();
    const run = { conversationId, runId: second.id };
    expect(await logged(run)).toEqual([]);
    await running.complete();
    await look();
    // It has waited for its turn, but not yet for a place.
    expect(await logged(run)).toEqual([]);
    await wait();
    await look();
    expect(await logged(run)).toHaveLength(1);
  });

  test("a run that goes on after an interrupt or a take-over: it has begun", async () => {
    await spine.owner.query("update workers set active = 0, slots = 100");
    const [resumed, orphan] = [await queued(), await queued()];
    const { id } = await (await work(spine, worker, resumed.runId)).wait({ reason: "operator" });
    const dead = await addWorker(spine);
    await work(spine, dead, orphan.runId);
    await killWorker(spine, dead);
    await spine.owner.query("update workers set active = slots");
    await resumeRun(tenant.ctx, { runId: resumed.runId, interruptId: id, decision: "retry" });
    await sweepOnce(spine.services);
    const [fresh] = await waiting(1);
    await look();
    expect(await positions([resumed, orphan, fresh!])).toEqual([[], [], [3]]);
  });

  test("a run that is being claimed, nor once it is", async () => {
    const [run] = await waiting(1);
    const client = await spine.services.db.pool.connect();
    try {
      await client.query("begin");
      const { handOver } = await doorbellOf(spine, run!.runId);
      await client.query("select * from claim_run($1, $2, $3, false)", [uuidOf(run!.runId), handOver, worker]);
      await look();
      await client.query("commit");
    } finally {
      client.release();
    }
    await look();
    expect(await logged(run!)).toEqual([]);
  });
});

test("however claims, cancels and looks fall, the log has each run's place at most once, before it begins, and stays whole", async () => {
  for (let round = 0; round < 12; round++) {
    const runs = await waiting(6);
    await spine.owner.query("update queues set looked_at = '-infinity'");
    const claims = runs.slice(0, 4).map(async ({ runId }) => workOn(spine, await claimFor(spine, worker, runId)));
    const cancelled = runs.slice(4).map(({ runId }) => cancelRun(tenant.ctx, runId));
    await Promise.all([look(), look(), ...cancelled]);
    for (const working of await Promise.all(claims)) {
      const { conversationId, runId } = working.claim;
      await working.write({ type: "RUN_STARTED", threadId: conversationId, runId });
      await working.complete();
    }
    for (const { conversationId } of runs) {
      const names = (await eventNames(spine, conversationId)).filter((name) => !name.startsWith("TEXT"));
      const begun = names.filter((name) => name !== "run.queued");
      expect(begun[0]).toBe("RUN_STARTED");
      expect(names.slice(0, -begun.length)).toEqual(names.length > begun.length ? ["run.queued"] : []);
    }
  }
  expect((await violations(spine.owner)).filter(({ invariant }) => invariant === "I1" || invariant === "I6")).toEqual(
    [],
  );
});

test("of many who look at once one tells, and who comes a moment later finds nothing to say", async () => {
  const runs = await waiting(8);
  await spine.owner.query("update queues set looked_at = '-infinity'");
  await Promise.all(Array.from({ length: 6 }, () => tellWaiting(spine.services, "priority")));
  await look();
  expect(await positions(runs)).toEqual(runs.map((_run, index) => [index + 1]));
});

test("a crowd of 1,200 is told in batches, none twice", async () => {
  const [model] = await waiting(1);
  await spine.owner.query(
    `with made as (
       insert into conversations (id, tenant_id, agent_id)
         select gen_random_uuid(), c.tenant_id, c.agent_id from conversations c, generate_series(1, 1199) where c.id = $1 returning id, tenant_id
     ), heads as (
       insert into conversation_heads (conversation_id, tenant_id) select id, tenant_id from made
     ), queued as (
       insert into runs (id, tenant_id, conversation_id, agent_id, agent_version, queue_class, correlation_id)
         select gen_random_uuid(), m.tenant_id, m.id, r.agent_id, r.agent_version, r.queue_class, 'crowd' from made m, runs r where r.id = $2
         returning id, tenant_id, queue_class
     )
     insert into jobs (run_id, hand_over, tenant_id, queue_class, state, correlation_id, run_after)
       select id, 1, tenant_id, queue_class, 'pending', 'crowd', now() - interval '1 second' from queued`,
    [uuidOf(model!.conversationId), uuidOf(model!.runId)],
  );
  // One look after the other, without a pause, until nobody is left.
  await spine.owner.query("update queues set looked_at = '-infinity'");
  let looks = 1;
  while (await tellWaiting(spine.services, "priority")) looks++;
  expect(looks).toBe(3);
  const { rows } = await spine.owner.query(
    `select count(*)::int as events, count(distinct e.run_id)::int as runs, max((e.event->'value'->>'position')::int) as last
     from events e where e.event->>'name' = 'run.queued' and e.tenant_id = $1`,
    [uuidOf(tenant.id)],
  );
  expect(rows).toEqual([{ events: 1_200, runs: 1_200, last: 1_200 }]);
});
