import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  openSpine,
  openTenant,
  startConversation,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import { violations } from "@agent-engine/testing/invariants.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { createConversation } from "../conversations/create-conversation.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { readEvents } from "../events/read-events.ts";
import { idOf, uuidOf } from "../ids.ts";
import { forkRun } from "../runs/fork-run.ts";
import { getTenant, updateTenant } from "../tenancy/tenant-settings.ts";
import { continueErasure } from "../visitors/continue-erasure.ts";
import { eraseVisitor } from "../visitors/erase-visitor.ts";
import { keepHouse, type Kept } from "./keep-house.ts";
import { openVisitorSession, type EarlierSession } from "../visitors/open-visitor-session.ts";
import type { SiteId, VisitorId } from "@agent-engine/protocol/ids.ts";

let spine: Spine;
let worker: string;

beforeAll(async () => {
  spine = await openSpine();
  worker = await addWorker(spine);
});
afterAll(() => spine.close());

const DAY_MS = 86_400_000;
const always = () => true;

/** Until nothing is left to do. */
async function keep(): Promise<number> {
  let deleted = 0;
  for (let kept: Kept | null = null; !kept?.isDone;) {
    kept = await keepHouse(spine.services, always);
    if (!kept) throw new Error("another process keeps house");
    deleted += kept.deleted;
  }
  return deleted;
}

/** A conversation with a run that has ended; it seems to have begun and, unless told otherwise, ended so many days ago. */
async function conversationOf(
  tenant: TestTenant,
  days: number,
  lastDays = days,
): Promise<{ id: string; runId: string }> {
  const made = await startConversation(tenant);
  const { run } = await ask(tenant.ctx, made);
  await (await work(spine, worker, run.id)).complete();
  return { id: await age(made, days, lastDays), runId: run.id };
}

/** Gives a conversation the id of one that began so many days ago, and its events the time. */
async function age(id: string, days: number, lastDays: number): Promise<string> {
  const time = Math.round(Date.now() - days * DAY_MS)
    .toString(16)
    .padStart(12, "0");
  const old = `${time}${uuidOf(id).slice(12)}`;
  const client = await spine.owner.connect();
  try {
    await client.query("begin; set local session_replication_role = replica");
    await client.query("update conversations set id = $2, created_at = now() - $3 * interval '1 day' where id = $1", [
      uuidOf(id),
      old,
      days,
    ]);
    for (const table of ["conversation_heads", "runs", "messages", "events"]) {
      await client.query(`update ${table} set conversation_id = $2 where conversation_id = $1`, [uuidOf(id), old]);
    }
    await client.query("update conversations set forked_from = $2 where forked_from = $1", [uuidOf(id), old]);
    await client.query("update events set at = now() - $2 * interval '1 day' where conversation_id = $1", [
      old,
      lastDays,
    ]);
    await client.query("commit");
  } finally {
    client.release(true);
  }
  return idOf("conv", old);
}

async function rowsOf(conversation: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [table, column] of [
    ["conversations", "id"],
    ["conversation_heads", "conversation_id"],
    ["runs", "conversation_id"],
    ["messages", "conversation_id"],
    ["events", "conversation_id"],
    ["deleted_logs", "conversation_id"],
  ]) {
    const { rows } = await spine.owner.query<{ n: number }>(
      `select count(*)::int as n from ${table} where ${column} = $1`,
      [uuidOf(conversation)],
    );
    counts[table ?? ""] = rows[0]?.n ?? -1;
  }
  return counts;
}
const NOTHING = { conversations: 0, conversation_heads: 0, runs: 0, messages: 0, events: 0, deleted_logs: 0 };

describe("retention", () => {
  test("deletes whole conversations in which nothing happened for longer, of tenants that want it, and no others", async () => {
    const [tenant, other] = await Promise.all([openTenant(spine), openTenant(spine)]);
    const old = await conversationOf(tenant, 40);
    const inUse = await conversationOf(tenant, 40, 2);
    const recent = await conversationOf(tenant, 20);
    const elsewhere = await conversationOf(other, 400);
    expect(await keep()).toBe(0);
    expect(await updateTenant(tenant.ctx, { retentionDays: 30 })).toMatchObject({ retentionDays: 30 });
    expect(await keep()).toBe(1);
    expect(await rowsOf(old.id)).toEqual(NOTHING);
    await expect(getConversation(tenant.ctx, old.id)).rejects.toMatchObject({ code: "not_found" });
    expect(await readEvents(tenant.ctx, { conversationId: old.id, after: 0, limit: 10 })).toEqual([]);
    for (const { id } of [inUse, recent]) expect(await getConversation(tenant.ctx, id)).toMatchObject({ id });
    expect(await getConversation(other.ctx, elsewhere.id)).toMatchObject({ id: elsewhere.id });
    await updateTenant(tenant.ctx, { retentionDays: null });
    expect(await getTenant(tenant.ctx)).toMatchObject({ retentionDays: null });
    expect(await violations(spine.owner)).toEqual([]);
  });

  test("takes forks along, and leaves a family of which one is at work", async () => {
    const tenant = await openTenant(spine);
    const { id: made } = await createConversation(tenant.ctx, { agentId: tenant.agentId });
    const { run } = await ask(tenant.ctx, made);
    await (await work(spine, worker, run.id)).complete();
    const changes = { reuseToolResults: true, allowSideEffects: false };
    const fork = await forkRun(tenant.ctx, { runId: run.id, changes });
    const old = await age(made, 40, 40);
    await updateTenant(tenant.ctx, { retentionDays: 30 });
    expect(await keep()).toBe(0);
    expect(await getConversation(tenant.ctx, old)).toMatchObject({ id: old });
    await (await work(spine, worker, fork.run.id)).complete();
    expect(await keep()).toBe(1);
    for (const id of [old, fork.run.conversationId]) expect(await rowsOf(id)).toEqual(NOTHING);
  });

  test("looks past conversations that are old and in use, a portion at a time", async () => {
    const tenant = await openTenant(spine);
    const inUse = await Promise.all([50, 49, 48].map((days) => conversationOf(tenant, days, 1)));
    const old = await conversationOf(tenant, 47);
    await updateTenant(tenant.ctx, { retentionDays: 30 });
    const look = async () =>
      (await spine.services.db.pool.query("select * from conversations_past_retention(10, 2)")).rows.map(
        (row: { conversation_id: string }) => idOf("conv", row.conversation_id),
      );
    // Of other tenants of this file nothing is left that is old enough.
    expect(await look()).toEqual([]);
    expect(await look()).toEqual([old.id]);
    expect(await look()).toEqual([]);
    expect(inUse).toHaveLength(3);
  });

  test("is the work of one process at a time, and stops in the middle when time is up", async () => {
    const tenant = await openTenant(spine);
    const old = await Promise.all([60, 61, 62].map((days) => conversationOf(tenant, days)));
    await updateTenant(tenant.ctx, { retentionDays: 30 });
    const client = await spine.owner.connect();
    await client.query("begin; select pg_advisory_xact_lock(hashtext('agent-engine:keep-house'))");
    expect(await keepHouse(spine.services, always)).toBeNull();
    await client.query("rollback");
    client.release();
    expect(await keepHouse(spine.services, () => false)).toEqual({ deleted: 1, isDone: false });
    await keep();
    for (const { id } of old) expect(await rowsOf(id)).toEqual(NOTHING);
  });

  test("deletes a long log in portions, in which nobody sees half of it", async () => {
    const tenant = await openTenant(spine);
    const { id } = await conversationOf(tenant, 40);
    await spine.owner.query(
      `insert into events (conversation_id, seq, tenant_id, audience, correlation_id, at, event)
       select $1, n, $2, 'all', 'test', now() - interval '40 days', '{"type":"STEP_STARTED","stepName":"x"}'
       from generate_series((select last_seq from conversation_heads where conversation_id = $1) + 1, 5000) n`,
      [uuidOf(id), uuidOf(tenant.id)],
    );
    await spine.owner.query("update conversation_heads set last_seq = 5000 where conversation_id = $1", [uuidOf(id)]);
    await updateTenant(tenant.ctx, { retentionDays: 30 });
    let looks = 0;
    // Time for the conversation, and then for one portion.
    await keepHouse(spine.services, () => ++looks < 3);
    const half = await rowsOf(id);
    expect(half).toMatchObject({ conversations: 0, deleted_logs: 1 });
    expect(half["events"]).toBeGreaterThan(0);
    expect(half["events"]).toBeLessThan(5_000);
    await expect(getConversation(tenant.ctx, id)).rejects.toMatchObject({ code: "not_found" });
    await keep();
    expect(await rowsOf(id)).toEqual(NOTHING);
  });
});

describe("visitors without a conversation", () => {
  const open = (tenant: TestTenant, earlier?: EarlierSession) =>
    openVisitorSession(tenant.ctx, { siteId: tenant.siteId as SiteId, ...(earlier ? { earlier } : {}) });

  /** They were seen last so many days ago. */
  const unseen = (id: string, days: number) =>
    spine.owner.query("update visitors set seen_at = now() - $2 * interval '1 day' where id = $1", [uuidOf(id), days]);

  async function isThere(id: string): Promise<boolean> {
    const { rows } = await spine.owner.query("select 1 from visitors where id = $1", [uuidOf(id)]);
    return rows.length === 1;
  }

  async function kept(...ids: string[]): Promise<boolean[]> {
    await keep();
    return Promise.all(ids.map(isThere));
  }

  test("are forgotten once no token of theirs can be renewed, and not before", async () => {
    const tenant = await openTenant(spine);
    const [gone, recent] = [(await open(tenant)).visitor.id, (await open(tenant)).visitor.id];
    await unseen(gone, 93);
    await unseen(recent, 91);
    expect(await kept(gone, recent)).toEqual([false, true]);
  });

  test("stay while they come back, have a conversation, or are known by name", async () => {
    const tenant = await openTenant(spine);
    const first = await open(tenant);
    const talked = (await open(tenant)).visitor.id;
    const agent = { siteId: tenant.siteId as SiteId, agentId: tenant.agentId };
    const actor = { kind: "visitor", visitorId: talked as VisitorId, ...agent } as const;
    await createConversation({ ...tenant.ctx, actor }, {});
    const known = (await open(tenant)).visitor.id;
    await spine.owner.query("update visitors set external_id = 'ada' where id = $1", [uuidOf(known)]);
    const merged = (await open(tenant)).visitor.id;
    await spine.owner.query("update visitors set merged_into = $2 where id = $1", [uuidOf(merged), uuidOf(known)]);
    for (const id of [first.visitor.id, talked, known, merged]) await unseen(id, 93);
    const again = await open(tenant, {
      visitorId: first.visitor.id as VisitorId,
      sessionId: first.sessionId,
      identifiedAt: null,
      issuedAt: Date.now(),
    });
    expect(again.visitor.id).toBe(first.visitor.id);
    expect(await kept(first.visitor.id, talked, known, merged)).toEqual([true, true, true, true]);
  });
});

describe("an erasure", () => {
  const HISTORY = 12_000;

  /** A visitor with a history that takes several portions. */
  async function talkative(tenant: TestTenant): Promise<{ visitorId: VisitorId; conversationId: string }> {
    const { visitor } = await openVisitorSession(tenant.ctx, { siteId: tenant.siteId as SiteId });
    const { id } = await createConversation(
      {
        ...tenant.ctx,
        actor: {
          kind: "visitor",
          visitorId: visitor.id as VisitorId,
          siteId: tenant.siteId as SiteId,
          agentId: tenant.agentId,
        },
      },
      {},
    );
    await spine.owner.query(
      `insert into events (conversation_id, seq, tenant_id, audience, correlation_id, at, event)
       select $1, n, $2, 'all', 'test', now(), '{"type":"CUSTOM","name":"note","value":{"text":"porcupine"}}' from generate_series(1, $3::int) n`,
      [uuidOf(id), uuidOf(tenant.id), HISTORY],
    );
    await spine.owner.query("update conversation_heads set last_seq = $2 where conversation_id = $1", [
      uuidOf(id),
      HISTORY,
    ]);
    return { visitorId: visitor.id as VisitorId, conversationId: id };
  }

  const readable = async (id: string) =>
    (
      await spine.owner.query("select from events where conversation_id = $1 and event::text like '%porcupine%'", [
        uuidOf(id),
      ])
    ).rowCount;

  test("of a long history goes on where it stopped, in the background too, and the sequence is whole at every moment", async () => {
    const tenant = await openTenant(spine);
    const { visitorId, conversationId } = await talkative(tenant);
    expect(await eraseVisitor(tenant.ctx, visitorId)).toEqual({ visitorId, status: "erased" });
    expect(await readable(conversationId)).toBe(0);

    const interrupted = await talkative(tenant);
    await stopAfterBegin(tenant, interrupted.visitorId);
    expect(await readable(interrupted.conversationId)).toBe(HISTORY);
    let looks = 0;
    expect(await continueErasure(tenant.ctx, interrupted.visitorId, () => ++looks < 4)).toBe(false);
    const left = await readable(interrupted.conversationId);
    expect(left).toBeGreaterThan(0);
    expect(left).toBeLessThan(HISTORY);
    expect((await violations(spine.owner)).filter(({ invariant }) => invariant === "I1")).toEqual([]);
    await keep();
    expect(await readable(interrupted.conversationId)).toBe(0);
    expect(await eraseVisitor(tenant.ctx, interrupted.visitorId)).toMatchObject({ status: "erased" });
    expect((await violations(spine.owner)).filter(({ invariant }) => invariant === "I1")).toEqual([]);
  });

  /** As when the process dies right after the first commit: whatever follows cannot reach the database. */
  async function stopAfterBegin(tenant: TestTenant, visitorId: VisitorId): Promise<void> {
    let commits = 0;
    const { db: whole } = spine.services;
    const connect = () => (commits++ === 0 ? whole.connect() : Promise.reject(new Error("gone")));
    const db = { ...whole, connect };
    const ctx = { ...tenant.ctx, services: { ...tenant.ctx.services, db } };
    await expect(eraseVisitor(ctx, visitorId)).rejects.toThrow("gone");
  }
});
