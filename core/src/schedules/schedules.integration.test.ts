import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { conversationState } from "../events/conversation-state.ts";
import {
  addWorker,
  ask,
  beginAnswer,
  eventNames,
  jobsOf,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  type Spine,
  type Working,
} from "@agent-engine/testing/spine.ts";
import { violations } from "@agent-engine/testing/invariants.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { Ctx } from "../context.ts";
import { createConversation } from "../conversations/create-conversation.ts";
import { readEvents } from "../events/read-events.ts";
import { newId, uuidOf } from "../ids.ts";
import { cancelRun } from "../runs/cancel-run.ts";
import { forkRun } from "../runs/fork-run.ts";
import { getRun } from "../runs/get-run.ts";
import { eraseVisitor } from "../visitors/erase-visitor.ts";
import { exportVisitor } from "../visitors/export-visitor.ts";
import { keepHouse } from "../retention/keep-house.ts";
import { cancelSchedule } from "./cancel-schedule.ts";
import { createSchedule } from "./create-schedule.ts";
import { getSchedule } from "./get-schedule.ts";
import { listSchedules } from "./list-schedules.ts";
import { planFollowUp } from "./plan-follow-up.ts";
import { startDueSchedules } from "./start-due-schedules.ts";

let spine: Spine;
let tenant: TestTenant;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  worker = await addWorker(spine);
});
afterAll(() => spine.close());
beforeEach(async () => {
  await spine.owner.query("delete from schedules");
  tenant = await openTenant(spine);
});

const start = () => startDueSchedules(spine.services);
const inAnHour = () => Date.now() + 3_600_000;
const soon = () => new Date(inAnHour()).toISOString();

/** Time goes by: everything that was planned is due. */
async function becomeDue(): Promise<void> {
  await spine.owner.query("update schedules set try_at = now() - interval '1 second' where status = 'open'");
}

interface Talk {
  ctx: Ctx;
  conversationId: string;
  running: Working;
}

/** A visitor's conversation with a run under way. */
async function talk(of = tenant): Promise<Talk> {
  const ctx = await visitorOf(of);
  const { id } = await createConversation(ctx, {});
  const { run } = await ask(ctx, id, "Remind me tomorrow");
  return { ctx, conversationId: id, running: await work(spine, worker, run.id) };
}

const plan = ({ conversationId, running }: Talk, callKey = newId("key"), instructions = "Remind them of the parcel.") =>
  planFollowUp(tenant.ctx, {
    conversationId,
    agentId: tenant.agentId,
    runId: running.claim.runId,
    callKey,
    at: inAnHour(),
    instructions,
  });

describe("a follow-up", () => {
  test("starts a run in its conversation when it is due, and not before", async () => {
    const chat = await talk();
    const planned = await plan(chat);
    await chat.running.complete();
    expect(await start()).toBe(0);
    await becomeDue();
    expect(await start()).toBe(1);
    expect(await start()).toBe(0);
    const schedule = await getSchedule(tenant.ctx, planned.id);
    expect(schedule).toMatchObject({ status: "started", createdBy: "agent", conversationId: chat.conversationId });
    const run = await getRun(tenant.ctx, schedule.runId ?? "");
    expect(run).toMatchObject({ status: "queued", conversationId: chat.conversationId });
    expect(spine.rung.at(-1)).toMatchObject({ runId: run.id, queueClass: "standard" });
    await (await work(spine, worker, run.id)).complete();
    expect(await violations(spine.owner)).toEqual([]);
  });

  test("tells the model that it planned this, and shows the visitor no message that they did not write", async () => {
    const chat = await talk();
    await plan(chat);
    await chat.running.complete();
    await becomeDue();
    await start();
    const { conversationId } = chat;
    const told = await conversationState(tenant.ctx, { conversationId }, "staff");
    expect(told.messages.at(-1)).toMatchObject({ role: "user", name: "Follow-up" });
    expect(told.messages.at(-1)?.text).toMatch(/follow-up that you planned at .*Remind them of the parcel\.$/s);
    const seen = await conversationState(chat.ctx, { conversationId }, "all");
    expect(seen.messages.map(({ text }) => text)).toEqual(["Remind me tomorrow"]);
    expect(seen.lastSeq).toBe(told.lastSeq);
  });

  test("is planned once, however often its call is repeated", async () => {
    const chat = await talk();
    const key = newId("key");
    const answers = await Promise.all([plan(chat, key), plan(chat, key), plan(chat, key)]);
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    expect((await listSchedules(tenant.ctx, { limit: 10, cursor: null })).items).toHaveLength(1);
  });

  test("waits behind whatever is under way, whatever the agent does about second messages", async () => {
    const other = (tenant = await openTenant(spine, { doubleSend: "interrupt" }));
    const chat = await talk(other);
    await chat.running.write(...beginAnswer(newId("msg")));
    const planned = await plan(chat);
    await becomeDue();
    await start();
    const { runId } = await getSchedule(other.ctx, planned.id);
    expect(await jobsOf(spine, runId ?? "")).toEqual([{ handOver: 1, state: "blocked" }]);
    expect(await getRun(other.ctx, chat.running.claim.runId)).toMatchObject({ status: "running" });
  });

  test("is planned by a run that is under way, not by one that was cancelled", async () => {
    const chat = await talk();
    await cancelRun(chat.ctx, chat.running.claim.runId);
    await expect(plan(chat)).rejects.toMatchObject({ code: "conflict" });
  });

  test("can be forked like any other run", async () => {
    const chat = await talk();
    const planned = await plan(chat);
    await chat.running.complete();
    await becomeDue();
    await start();
    const { runId } = await getSchedule(tenant.ctx, planned.id);
    await (await work(spine, worker, runId ?? "")).complete();
    const fork = await forkRun(tenant.ctx, {
      runId: runId ?? "",
      changes: { reuseToolResults: true, allowSideEffects: false },
    });
    expect(fork.message.text).toMatch(/Remind them of the parcel/);
  });
});

describe("two workers", () => {
  test("start each schedule exactly once between them", async () => {
    for (let i = 0; i < 12; i++) {
      await createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: `number ${i}` });
    }
    await becomeDue();
    const counts = await Promise.all([start(), start(), start()]);
    await start();
    expect(counts.reduce((a, b) => a + b)).toBeLessThanOrEqual(12);
    const { items } = await listSchedules(tenant.ctx, { limit: 100, cursor: null });
    expect(items.map(({ status }) => status)).toEqual(Array(12).fill("started"));
    expect(new Set(items.map(({ runId }) => runId)).size).toBe(12);
    const { rows } = await spine.owner.query("select from runs where tenant_id = $1", [uuidOf(tenant.id)]);
    expect(rows).toHaveLength(12);
  });

  test("leave nothing behind when the one that starts it dies in between; then the other starts it", async () => {
    const chat = await talk();
    const planned = await plan(chat);
    await chat.running.complete();
    await becomeDue();
    const before = (await eventNames(spine, chat.conversationId)).length;
    await spine.owner.query(
      `create function die() returns trigger language plpgsql as $$ begin raise exception 'killed'; end $$;
       create trigger die before update on schedules for each row when (new.status = 'started') execute function die()`,
    );
    try {
      expect(await start()).toBe(0);
    } finally {
      await spine.owner.query("drop trigger die on schedules; drop function die");
    }
    expect(await eventNames(spine, chat.conversationId)).toHaveLength(before);
    expect(await getSchedule(tenant.ctx, planned.id)).toMatchObject({ status: "open", runId: null });
    // It is tried again later rather than at once.
    expect(await start()).toBe(0);
    await becomeDue();
    expect(await start()).toBe(1);
  });
});

describe("a partner's schedule", () => {
  test("says what the partner said, in a conversation of its own, and is that conversation's from then on", async () => {
    const { id } = await createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: "Write a report" });
    await becomeDue();
    expect(await start()).toBe(1);
    const { conversationId, runId } = await getSchedule(tenant.ctx, id);
    const events = await readEvents(tenant.ctx, { conversationId: conversationId ?? "", after: 0, limit: 10 });
    expect(events[1]).toMatchObject({ runId, audience: "all", event: { delta: "Write a report" } });
    await spine.owner.query("delete from conversations where id = $1", [uuidOf(conversationId ?? "")]);
    await expect(getSchedule(tenant.ctx, id)).rejects.toMatchObject({ code: "not_found" });
  });

  test("starts once the run in the way has ended, where the agent refuses second messages", async () => {
    tenant = await openTenant(spine, { doubleSend: "reject" });
    const conversationId = await startConversation(tenant);
    const { run } = await ask(tenant.ctx, conversationId);
    const running = await work(spine, worker, run.id);
    const { id } = await createSchedule(tenant.ctx, {
      agentId: tenant.agentId,
      conversationId,
      at: soon(),
      input: "hi",
    });
    await becomeDue();
    expect(await start()).toBe(0);
    expect(await getSchedule(tenant.ctx, id)).toMatchObject({ status: "open" });
    await running.complete();
    await becomeDue();
    expect(await start()).toBe(1);
  });

  test("fails with its reason when the agent is published no more", async () => {
    const { id } = await createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: "hi" });
    await spine.owner.query("update agents set published_version = null where id = $1", [uuidOf(tenant.agentId)]);
    await becomeDue();
    expect(await start()).toBe(0);
    expect(await getSchedule(tenant.ctx, id)).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("published"),
    });
  });

  test("is cancelled while it is open, once; one that has started is not", async () => {
    const make = () => createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: "hi" });
    const { id } = await make();
    await cancelSchedule(tenant.ctx, id);
    await cancelSchedule(tenant.ctx, id);
    await becomeDue();
    expect(await start()).toBe(0);
    expect(await getSchedule(tenant.ctx, id)).toMatchObject({ status: "cancelled" });
    const late = await make();
    await becomeDue();
    await start();
    await expect(cancelSchedule(tenant.ctx, late.id)).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("limits", () => {
  test("ten that have not started in a conversation", async () => {
    const chat = await talk();
    for (let i = 0; i < 10; i++) await plan(chat);
    await expect(plan(chat)).rejects.toMatchObject({ code: "conflict", detail: expect.stringContaining("10") });
    await chat.running.complete();
    await becomeDue();
    expect(await start()).toBe(10);
  });

  test.each([
    ["now", () => Date.now() - 1],
    ["in 31 days", () => Date.now() + 31 * 86_400_000],
  ])("not %s", async (_when, at) => {
    const input = { agentId: tenant.agentId, at: new Date(at()).toISOString(), input: "hi" };
    await expect(createSchedule(tenant.ctx, input)).rejects.toMatchObject({ code: "invalid_request" });
  });

  test("not with another agent's conversation, nor another tenant's agent", async () => {
    const other = await openTenant(spine);
    const mine = { agentId: tenant.agentId, at: soon(), input: "hi" };
    const foreign = { ...mine, conversationId: await startConversation(other) };
    await expect(createSchedule(tenant.ctx, foreign)).rejects.toMatchObject({ code: "not_found" });
    await expect(createSchedule(tenant.ctx, { ...mine, agentId: other.agentId })).rejects.toMatchObject({
      code: "not_found",
    });
    const { id } = await createSchedule(other.ctx, { ...mine, agentId: other.agentId });
    await expect(getSchedule(tenant.ctx, id)).rejects.toMatchObject({ code: "not_found" });
    await expect(cancelSchedule(tenant.ctx, id)).rejects.toMatchObject({ code: "not_found" });
  });
});

describe("what was planned for a visitor", () => {
  test("is in their export, and gone when they are erased", async () => {
    const chat = await talk();
    const planned = await plan(chat);
    const { actor } = chat.ctx;
    if (actor.kind !== "visitor") throw new Error("not a visitor");
    const exported: unknown[] = [];
    for await (const part of exportVisitor(tenant.ctx, actor.visitorId)) exported.push(part);
    expect(exported).toContainEqual({
      part: "conversation",
      value: expect.objectContaining({ schedules: [expect.objectContaining({ input: planned.input })] }),
    });
    await eraseVisitor(tenant.ctx, actor.visitorId);
    await expect(getSchedule(tenant.ctx, planned.id)).rejects.toMatchObject({ code: "not_found" });
    const { rows } = await spine.owner.query("select from schedules where conversation_id = $1", [
      uuidOf(chat.conversationId),
    ]);
    expect(rows).toEqual([]);
  });

  test("is forgotten a month after it was over when it never got a conversation", async () => {
    const { id } = await createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: "hi" });
    const kept = await createSchedule(tenant.ctx, { agentId: tenant.agentId, at: soon(), input: "hi" });
    for (const each of [id, kept.id]) await cancelSchedule(tenant.ctx, each);
    await spine.owner.query("update schedules set ended_at = now() - interval '31 days' where id = $1", [uuidOf(id)]);
    await keepHouse(spine.services, () => true);
    const { items } = await listSchedules(tenant.ctx, { limit: 10, cursor: null });
    expect(items.map((each) => each.id)).toEqual([kept.id]);
  });
});
