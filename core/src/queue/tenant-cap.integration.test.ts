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
  workOn,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { uuidOf } from "../ids.ts";
import { claimRun } from "../runs/claim-run.ts";
import { resumeRun } from "../runs/resume-run.ts";
import { sweepOnce } from "./dispatcher.ts";
import { pickRuns } from "./pick-runs.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
});
afterAll(() => spine.close());

beforeEach(async () => {
  await spine.owner.query("delete from workers; update jobs set state = 'done'; update runs set status = 'failed'");
  await spine.owner.query("update conversation_heads set run_id = null");
  spine.rung.length = 0;
  tenant = await openTenant(spine);
  worker = await addWorker(spine);
});

const queued = async (of = tenant) => (await ask(of.ctx, await startConversation(of))).run.id;
const cap = (max: number | null, of = tenant) =>
  spine.owner.query("update tenants set max_running = $2 where id = $1", [uuidOf(of.id), max]);
const pick = async (places = 64) =>
  (await pickRuns(spine.services, { workerUuid: worker, queueClass: "priority", places })).map(({ runId }) => runId);

async function heldBack(): Promise<number> {
  const { rows } = await spine.owner.query("select 1 from jobs where state = 'pending' and capped");
  return rows.length;
}

async function running(of = tenant): Promise<number> {
  const { rows } = await spine.owner.query("select 1 from runs where tenant_id = $1 and status = 'running'", [
    uuidOf(of.id),
  ]);
  return rows.length;
}

describe("a tenant's cap", () => {
  test("holds however many workers claim at once; those refused wait and are taken in order as runs end", async () => {
    const runs: string[] = [];
    for (let i = 0; i < 12; i++) runs.push(await queued());
    await cap(3);
    const doorbells = await Promise.all(runs.map((runId) => doorbellOf(spine, runId)));
    const claims = (await Promise.all(doorbells.map((doorbell) => claimRun(spine.services, doorbell, worker)))).filter(
      (claim) => claim !== null,
    );
    expect(claims).toHaveLength(3);
    expect([await running(), await heldBack()]).toEqual([3, 9]);
    expect(await pick()).toEqual([]);
    const waiting = runs.filter((runId) => !claims.some((claim) => claim.kind !== "suspect" && claim.runId === runId));
    for (const claim of claims) {
      if (claim.kind === "suspect") throw new Error("nobody died of it");
      const working = workOn(spine, claim);
      await working.write({ type: "RUN_STARTED", threadId: claim.conversationId, runId: claim.runId });
      await working.complete();
      const next = await pick();
      expect(next).toEqual([waiting.shift()]);
      await claimFor(spine, worker, next[0]!);
    }
    expect([await running(), await heldBack()]).toEqual([3, 6]);
  });

  test("lets a message wait without ringing once it is reached, and leaves other tenants their speed", async () => {
    await cap(1);
    const other = await openTenant(spine);
    await work(spine, worker, await queued());
    const [second, theirs] = [await queued(), await queued(other)];
    expect(await jobsOf(spine, second)).toEqual([{ handOver: 1, state: "pending" }]);
    expect(spine.rung.at(-1)).toMatchObject({ runId: theirs });
    expect(await heldBack()).toBe(1);
  });

  test("that is lifted or raised lets those go that waited for it", async () => {
    await cap(1);
    await work(spine, worker, await queued());
    const waiting = [await queued(), await queued(), await queued()];
    await cap(2);
    expect(await pick()).toEqual(waiting.slice(0, 1));
    await cap(null);
    expect(await pick()).toEqual(waiting.slice(1));
  });

  test("counts a run that goes on after an interrupt, and never stops one that is taken over", async () => {
    await cap(1);
    const first = await queued();
    const { id } = await (await work(spine, worker, first)).wait({ reason: "operator" });
    const dead = await addWorker(spine);
    const second = await queued();
    await work(spine, dead, second);
    await resumeRun(tenant.ctx, { runId: first, interruptId: id, decision: "retry" });
    expect(await heldBack()).toBe(1);
    await killWorker(spine, dead);
    await sweepOnce(spine.services);
    expect(await pick()).toEqual([second]);
    expect(await claimFor(spine, worker, second)).toMatchObject({ kind: "takeover" });
    expect(await running()).toBe(1);
  });

  test("is the workers' where the tenant has none of its own", async () => {
    await spine.owner.query("update workers set tenant_runs = 1");
    await cap(2);
    const other = await openTenant(spine);
    for (const of of [tenant, other]) {
      const runs = [await queued(of), await queued(of), await queued(of)];
      for (const runId of runs) await claimRun(spine.services, await doorbellOf(spine, runId), worker);
    }
    expect([await running(), await running(other)]).toEqual([2, 1]);
  });
});
