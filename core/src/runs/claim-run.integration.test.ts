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
  visitorOf,
  work,
  workOn,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { inTenant } from "../db/transaction.ts";
import { LeaseLost } from "../events/append-in-transaction.ts";
import { newId, uuidOf } from "../ids.ts";
import { sweepOnce } from "../queue/dispatcher.ts";
import { claimRun, type Claim } from "./claim-run.ts";
import { getRun } from "./get-run.ts";
import { releaseLease } from "./release-lease.ts";
import { beginInvocation, finishInvocation, lastToolStep, recordToolStep } from "./tool-steps.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  tenant = await openTenant(spine);
});
afterAll(() => spine.close());

async function queued(ctx = tenant.ctx) {
  const conversationId = await startConversation({ ...tenant, ctx });
  const { run } = await ask(ctx, conversationId);
  return { conversationId, runId: run.id };
}

describe("a doorbell", () => {
  test("answered ten times at once, by one worker or by ten, gives the run to one", async () => {
    const workers = await Promise.all(Array.from({ length: 10 }, () => addWorker(spine)));
    for (const answering of [workers, workers.map(() => workers[0] ?? "")]) {
      const { conversationId, runId } = await queued();
      const doorbell = await doorbellOf(spine, runId);
      const claims = await Promise.all(answering.map((worker) => claimRun(spine.services, doorbell, worker)));
      const won = claims.filter((claim) => claim !== null);
      expect(won).toHaveLength(1);
      expect(won[0]).toMatchObject({ kind: "start", runId, conversationId, tenantId: tenant.id, epoch: 1, attempt: 1 });
      expect(await jobsOf(spine, runId)).toEqual([{ handOver: 1, state: "done" }]);
      expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "running", attempt: 1 });
    }
  });

  test("brings what the worker needs: whose run it is, its version, and the log so far, merged", async () => {
    const visitor = await visitorOf(tenant);
    const { conversationId, runId } = await queued(visitor);
    const worker = await addWorker(spine);
    const claim = await claimFor(spine, worker, runId);
    expect(claim).toMatchObject({
      visitorId: visitor.actor.kind === "visitor" ? visitor.actor.visitorId : null,
      agentId: tenant.agentId,
      agentVersion: 1,
      lastSeq: 3,
      correlationId: "test",
      resolution: null,
      interrupts: [],
      usage: [],
      startedAt: expect.any(Date),
    });
    expect(claim.history.map(({ seq, conversationId: of, at }) => [seq, of, Number.isNaN(Date.parse(at))])).toEqual(
      [1, 2, 3].map((seq) => [seq, conversationId, false]),
    );
  });

  test("of an earlier hand-over, of a run that is over, that runs, that nobody knows, or that is not next opens nothing", async () => {
    const worker = await addWorker(spine);
    const { conversationId, runId } = await queued();
    const doorbell = await doorbellOf(spine, runId);
    const { run: next } = await ask(tenant.ctx, conversationId);
    await spine.owner.query("update runs set hand_over = 2 where id = $1", [uuidOf(runId)]);
    expect(await claimRun(spine.services, doorbell, worker)).toBeNull();
    const running = await work(spine, worker, runId);
    for (const other of [await doorbellOf(spine, runId), await doorbellOf(spine, next.id)]) {
      expect(await claimRun(spine.services, other, worker)).toBeNull();
    }
    await running.complete();
    expect(await claimRun(spine.services, await doorbellOf(spine, runId), worker)).toBeNull();
    expect(await claimRun(spine.services, { ...doorbell, runId: newId("run") }, worker)).toBeNull();
  });

  test("is nothing to a worker whose own heartbeat ran out, or that never registered", async () => {
    const { runId } = await queued();
    const dead = await addWorker(spine);
    await killWorker(spine, dead);
    const doorbell = await doorbellOf(spine, runId);
    for (const worker of [dead, uuidOf(newId("worker"))]) {
      expect(await claimRun(spine.services, doorbell, worker)).toBeNull();
    }
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "queued", attempt: 0 });
  });

  test("of a waiting run opens it only once somebody has decided", async () => {
    const worker = await addWorker(spine);
    const { runId } = await queued();
    await (await work(spine, worker, runId)).wait({ reason: "operator" });
    expect(await claimRun(spine.services, await doorbellOf(spine, runId), worker)).toBeNull();
  });
});

describe("a take-over", () => {
  async function running() {
    const first = await addWorker(spine);
    const { conversationId, runId } = await queued();
    const working = await work(spine, first, runId);
    return { first, conversationId, runId, working, second: await addWorker(spine) };
  }

  test("happens when the worker's heartbeat has run out, and not before", async () => {
    const { first, second, runId, working } = await running();
    expect(await claimRun(spine.services, await doorbellOf(spine, runId), second)).toBeNull();
    await killWorker(spine, first);
    const claim = await claimFor(spine, second, runId);
    expect(claim).toMatchObject({ kind: "takeover", attempt: 2, epoch: working.claim.epoch + 1, lastSeq: 4 });
    expect(claim.startedAt.getTime()).toBe(working.claim.startedAt.getTime());
    expect(claim.history.at(-1)?.event.type).toBe("RUN_STARTED");
  });

  test("makes the old doorbell void: the sweeper's is the one that counts", async () => {
    const { first, second, runId } = await running();
    const old = await doorbellOf(spine, runId);
    await killWorker(spine, first);
    await sweepOnce(spine.services);
    expect(await claimRun(spine.services, old, second)).toBeNull();
    expect(await claimFor(spine, second, runId)).toMatchObject({ kind: "takeover" });
    expect(await jobsOf(spine, runId)).toEqual([
      { handOver: 1, state: "done" },
      { handOver: 2, state: "done" },
    ]);
  });

  test("by ten at once is one", async () => {
    const { first, second, runId } = await running();
    await killWorker(spine, first);
    const doorbell = await doorbellOf(spine, runId);
    const claims = await Promise.all(Array.from({ length: 10 }, () => claimRun(spine.services, doorbell, second)));
    expect(claims.filter((claim) => claim !== null)).toHaveLength(1);
  });

  test("fences the zombie: it writes, ends and parks nothing any more", async () => {
    const { first, second, runId, working } = await running();
    await killWorker(spine, first);
    const claim = await claimFor(spine, second, runId);
    const zombies = [working, workOn(spine, working.claim), workOn(spine, working.claim)];
    await expect(zombies[0]?.write(...beginAnswer(newId("msg")))).rejects.toBeInstanceOf(LeaseLost);
    await expect(zombies[1]?.complete()).rejects.toBeInstanceOf(LeaseLost);
    await expect(zombies[2]?.wait({ reason: "operator" })).rejects.toBeInstanceOf(LeaseLost);
    expect(await getRun(tenant.ctx, runId)).toMatchObject({ status: "running", attempt: 2 });
    await workOn(spine, claim).write(...beginAnswer(newId("msg")));
  });

  test("of a lease that was given back needs no waiting; only its holder can give it back", async () => {
    const { first, second, runId, working } = await running();
    await giveBack(working.claim, second);
    expect(await claimRun(spine.services, await doorbellOf(spine, runId), second)).toBeNull();
    await giveBack(working.claim, first);
    expect(await claimFor(spine, second, runId)).toMatchObject({ kind: "takeover", attempt: 2 });
  });

  test("of a lease that was given back is not undone when its holder, which has it again, gives it back once more", async () => {
    const { first, second, runId, working } = await running();
    await giveBack(working.claim, first);
    const again = await claimFor(spine, first, runId);
    await giveBack(working.claim, first);
    expect(await claimRun(spine.services, await doorbellOf(spine, runId), second)).toBeNull();
    await giveBack(again, first);
    expect(await claimFor(spine, second, runId)).toMatchObject({ kind: "takeover", attempt: 3 });
  });

  test("from a worker that stops in good order is no further attempt, however many of them stop", async () => {
    const { first, runId, working } = await running();
    let { claim } = working;
    let holder = first;
    for (let roll = 0; roll < 5; roll++) {
      await giveBack(claim, holder, true);
      holder = await addWorker(spine);
      claim = await claimFor(spine, holder, runId);
      expect(claim).toMatchObject({ kind: "takeover", attempt: 1 });
    }
  });

  function giveBack({ conversationId, runId, epoch }: Claim, workerUuid: string, isOrderly = false): Promise<void> {
    const tenantId = tenant.id;
    return releaseLease(spine.services, { tenantId, conversationId, runId, epoch, workerUuid, isOrderly });
  }
});

describe("tool steps", () => {
  const key = (claim: Claim) => `${claim.runId}:0:0`;

  async function recorded() {
    const worker = await addWorker(spine);
    const { runId } = await queued();
    const { claim, log } = await work(spine, worker, runId);
    const ctx = { ...tenant.ctx, actor: { kind: "worker" as const } };
    const invocation = {
      ...{ toolCallId: "call_1", callIndex: 0, toolName: "pay", effect: "write" as const, idempotencyKey: key(claim) },
      ...{ arguments: { text: "a\u0000\ud800" }, attempts: 0, startedAt: null, outcome: null, decision: null },
    };
    const step = {
      index: 0,
      key: `${runId}:0`,
      text: "a\u0000b",
      usage: { inputTokens: 3 },
      invocations: [invocation],
    };
    const { conversationId } = claim;
    const record = () =>
      log.takeOver([], ({ fence, events }) =>
        inTenant(spine.services.db, tenant.id, (tx) =>
          recordToolStep(ctx, tx, { conversationId, runId, fence, events, step }),
        ),
      );
    const of = { idempotencyKey: key(claim), conversationId, epoch: claim.epoch };
    const finish = (outcome: unknown) => finishInvocation(ctx, { ...of, status: "succeeded", outcome });
    return { worker, runId, claim, log, ctx, step, record, of, finish };
  }

  test("are there before their calls, with what the model asked; a result is recorded once", async () => {
    const { ctx, runId, step, record, of, finish } = await recorded();
    await record();
    expect(await lastToolStep(ctx, runId)).toMatchObject({ ...step, text: "a\ufffdb" });
    expect(await beginInvocation(ctx, of)).toBe(true);
    expect(await finish({ content: "first" })).toBe(true);
    expect(await finish({ content: "second" })).toBe(false);
    expect(await beginInvocation(ctx, of)).toBe(false);
    const found = await lastToolStep<{ content: string }, unknown>(ctx, runId);
    expect(found?.invocations[0]).toMatchObject({
      attempts: 1,
      outcome: { content: "first" },
      startedAt: expect.any(Number),
    });
  });

  test("of a zombie are refused: it records no step, begins no call and reports no result", async () => {
    const { worker, ctx, runId, claim, record, of, finish } = await recorded();
    await record();
    await killWorker(spine, worker);
    const next = await claimFor(spine, await addWorker(spine), runId);
    expect(await beginInvocation(ctx, of)).toBe(false);
    expect(await finish({ content: "late" })).toBe(false);
    const zombie = workOn(spine, claim).log;
    const late = zombie.takeOver([], ({ fence, events }) =>
      inTenant(spine.services.db, tenant.id, (tx) =>
        recordToolStep(ctx, tx, {
          ...{ conversationId: claim.conversationId, runId, fence },
          events: [
            ...events,
            { event: { type: "STEP_STARTED", stepName: "late" }, audience: "all", runId, correlationId: "c" },
          ],
          step: { index: 1, key: `${runId}:1`, text: "", usage: null, invocations: [] },
        }),
      ),
    );
    await expect(late).rejects.toBeInstanceOf(LeaseLost);
    expect((await lastToolStep(ctx, runId))?.index).toBe(0);
    expect(await beginInvocation(ctx, { ...of, epoch: next.epoch })).toBe(true);
  });

  test("a call that is begun at the moment its run is cancelled or taken over is not sent", async () => {
    const { ctx, claim, record, of } = await recorded();
    await record();
    const other = await spine.owner.connect();
    await other.query("begin");
    await other.query("update conversation_heads set epoch = epoch + 1 where conversation_id = $1", [
      claim.conversationId.slice(5),
    ]);
    const beginning = beginInvocation(ctx, of);
    const isHeldUp = async () => {
      const { rows } = await spine.owner.query(
        "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
      );
      return rows.length > 0;
    };
    await Promise.race([beginning, waitFor(isHeldUp, { describe: "the beginning to wait" })]);
    await other.query("commit");
    other.release();
    expect(await beginning).toBe(false);
    expect((await lastToolStep(ctx, claim.runId))?.invocations[0]).toMatchObject({ attempts: 0 });
  });

  test("a step without a pending event is fenced as well", async () => {
    const { worker, ctx, runId, claim, record } = await recorded();
    await record();
    await killWorker(spine, worker);
    await claimFor(spine, await addWorker(spine), runId);
    const late = workOn(spine, claim).log.takeOver([], ({ fence, events }) =>
      inTenant(spine.services.db, tenant.id, (tx) =>
        recordToolStep(ctx, tx, {
          ...{ conversationId: claim.conversationId, runId, fence, events },
          step: { index: 1, key: `${runId}:1`, text: "", usage: null, invocations: [] },
        }),
      ),
    );
    await expect(late).rejects.toBeInstanceOf(LeaseLost);
    expect((await lastToolStep(ctx, runId))?.index).toBe(0);
  });
});
