import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  beginAnswer,
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
import { violations } from "@agent-engine/testing/invariants.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { conversationState } from "../events/conversation-state.ts";
import { newId, uuidOf } from "../ids.ts";
import { sweepOnce } from "../queue/dispatcher.ts";
import { endWorker } from "../workers/end-worker.ts";
import { buryRun } from "./bury-run.ts";
import { claimRun, type Claim } from "./claim-run.ts";
import { getRun } from "./get-run.ts";
import { releaseLease } from "./release-lease.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

async function running() {
  const conversationId = await startConversation(tenant);
  const { run } = await ask(tenant.ctx, conversationId);
  const worker = await addWorker(spine);
  const working = await work(spine, worker, run.id);
  return { conversationId, runId: run.id, working, claim: working.claim, worker };
}

/** The next worker's answer to the run's newest doorbell. */
async function claimNext(runId: string, isQuarantine = false) {
  const worker = await addWorker(spine);
  const claim = await claimRun(spine.services, await doorbellOf(spine, runId), worker, { isQuarantine });
  return { worker, claim };
}

/** Another worker takes the run and dies of it, in quarantine or not. */
async function crash(runId: string): Promise<Claim | null> {
  const { worker, claim } = await claimNext(runId, true);
  await killWorker(spine, worker);
  return claim?.kind === "suspect" ? null : claim;
}

const leave = (worker: string) => spine.owner.query("delete from workers where id = $1", [worker]);

function release(claim: Claim, workerUuid: string, how: { isOrderly: boolean; failure?: string }): Promise<void> {
  const { conversationId, runId, epoch } = claim;
  return releaseLease(spine.services, { tenantId: tenant.id, conversationId, runId, epoch, workerUuid, ...how });
}

describe("a run's crashes", () => {
  test("are the workers that died of it: after two it is suspect, for a quarantine process alone, after three poison", async () => {
    const { runId, worker } = await running();
    await killWorker(spine, worker);
    expect(await crash(runId)).toMatchObject({ kind: "takeover", attempt: 2, crashes: 1 });

    const refused = await claimNext(runId);
    expect(refused.claim).toEqual({ kind: "suspect" });
    // Nothing was claimed: the same doorbell opens it for whoever may.
    const alone = await claimNext(runId, true);
    expect(alone.claim).toMatchObject({ kind: "takeover", attempt: 3, crashes: 2 });
    await endWorker(spine.services, alone.worker, "it ran out of memory");

    // Only its end is left to write, which needs no quarantine, and brings no log to choke on.
    expect((await claimNext(runId)).claim).toMatchObject({
      kind: "poison",
      crashes: 3,
      lastCrash: "it ran out of memory",
      history: [],
      pages: [],
    });
  });

  test("are not the workers that were replaced, however many, nor those that lost Postgres", async () => {
    const { runId, worker, claim } = await running();
    let [holder, held] = [worker, claim];
    for (let roll = 0; roll < 20; roll++) {
      // By turns: given back, left with a call that hears no signal, dropped for want of a database.
      if (roll % 3 === 0) await release(held, holder, { isOrderly: true });
      else if (roll % 3 === 1) await leave(holder);
      else await release(held, holder, { isOrderly: false });
      holder = await addWorker(spine);
      held = await claimFor(spine, holder, runId);
      expect(held).toMatchObject({ kind: "takeover", crashes: 0 });
    }
  });

  test("are also what a living worker could not cope with, or it would go round for ever", async () => {
    const { runId, worker, claim } = await running();
    await release(claim, worker, { isOrderly: false, failure: "value \u0000 too long" });
    const { claim: second, worker: next } = await claimNext(runId);
    expect(second).toMatchObject({ kind: "takeover", crashes: 1, lastCrash: "value \ufffd too long" });
    await release(second as Claim, next, { isOrderly: false, failure: "again" });
    expect((await claimNext(runId)).claim).toEqual({ kind: "suspect" });
  });

  test("are forgotten when a person decides", async () => {
    const { runId, worker } = await running();
    await killWorker(spine, worker);
    await crash(runId);
    const alone = await addWorker(spine);
    const claim = await claimRun(spine.services, await doorbellOf(spine, runId), alone, { isQuarantine: true });
    await workOn(spine, claim as Claim).wait({ reason: "operator" });
    await spine.owner.query(
      `update runs set resume = '{"decision": "retry"}', hand_over = hand_over + 1 where id = $1`,
      [uuidOf(runId)],
    );
    expect((await claimNext(runId)).claim).toMatchObject({ kind: "resume", attempt: 1, crashes: 0 });
  });
});

describe("a poison run", () => {
  async function poisoned() {
    const { runId, conversationId, worker, working } = await running();
    const partial = newId("msg");
    await working.write(...beginAnswer(partial));
    await killWorker(spine, worker);
    await crash(runId);
    await crash(runId);
    const { claim: last } = await claimNext(runId);
    return { runId, conversationId, partial, last: last as Claim };
  }

  test("is buried: its job dead with the reason, its half sentence taken back, its conversation free", async () => {
    const { runId, conversationId, partial, last } = await poisoned();
    const { run: next } = await ask(tenant.ctx, conversationId);
    await buryRun(tenant.ctx, last, "Sorry.");
    const detail = "Its worker died 3 times while executing it; the last time: its heartbeat stopped.";
    expect(await getRun(tenant.ctx, runId)).toMatchObject({
      status: "failed",
      error: { code: "poison", message: "Sorry.", detail },
    });
    const { rows } = await spine.owner.query(
      "select state, reason from jobs j join runs r on r.id = j.run_id and r.hand_over = j.hand_over where r.id = $1",
      [uuidOf(runId)],
    );
    expect(rows).toEqual([{ state: "dead", reason: detail }]);
    const state = await conversationState(tenant.ctx, { conversationId }, "all");
    expect(state.messages.map(({ id }) => id)).not.toContain(partial);
    expect(state.runs[runId]).toMatchObject({ status: "failed", error: { code: "poison", message: "Sorry." } });
    expect((await jobsOf(spine, next.id))[0]?.state).not.toBe("blocked");
    await claimFor(spine, await addWorker(spine), next.id);
  });

  test("stays dead: no doorbell, sweep or second burial brings it back", async () => {
    const { runId, last } = await poisoned();
    await buryRun(tenant.ctx, last, "Sorry.");
    await sweepOnce(spine.services);
    expect((await claimNext(runId, true)).claim).toBeNull();
    await expect(buryRun(tenant.ctx, last, "Sorry.")).rejects.toThrow("lease");
    expect((await violations(spine.owner)).filter(({ subject }) => subject === runId)).toEqual([]);
  });
});

describe("where every heartbeat stopped at once", () => {
  test("those who live get time to go on; what a dead one held is taken by who was there all along", async () => {
    const { runId, worker } = await running();
    // The database was away: this one's heartbeats have just begun again, and nobody's went on through it.
    await spine.owner.query(
      "update workers set expires_at = case when id = $1 then now() - interval '5 seconds' else now() + interval '1 day' end, held_since = now()",
      [worker],
    );
    await sweepOnce(spine.services);
    const before = await doorbellOf(spine, runId);
    expect(before.handOver).toBe(1);
    await addWorker(spine);
    await sweepOnce(spine.services);
    expect((await doorbellOf(spine, runId)).handOver).toBe(2);
  });
});
