import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  killWorker,
  openSpine,
  openTenant,
  startConversation,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { declaredStatements } from "../../db/statement.ts";
import { newId, uuidOf } from "../../ids.ts";
import { MAX_CALLS } from "./health-rows.ts";
import { getToolkitHealth, listToolkitHealth } from "./read-health.ts";
import { reportCircuits } from "./report-circuits.ts";

let spine: Spine;
beforeAll(async () => {
  spine = await openSpine();
});
afterAll(() => spine.close());

const page = { limit: 100, cursor: null };

interface Tried {
  attempt: number;
  code: string;
  agoSeconds?: number;
  retryAfterMs?: number;
  ms?: number;
}

interface Call {
  toolkit?: string;
  status?: string;
  attempts?: number;
  agoSeconds?: number;
  ms?: number | null;
  tried?: Tried[];
  decision?: unknown;
}

/** Calls of a run of the tenant, as a worker leaves them. */
async function made(tenant: TestTenant, calls: Call[], times = 1): Promise<void> {
  const { run } = await ask(tenant.ctx, await startConversation(tenant));
  const values = [uuidOf(run.id), uuidOf(tenant.id)];
  await spine.owner.query(
    "insert into steps (run_id, step_index, tenant_id, key, status) values ($1::uuid, 0, $2, $1::text, 'tools')",
    values,
  );
  for (const [index, call] of calls.entries()) {
    const { toolkit = "shop", status = "succeeded", attempts = 1, agoSeconds = 60, ms = 100 } = call;
    const tried = call.tried?.map(({ agoSeconds: ago = agoSeconds, ...each }) => ({
      ...{ detail: `${each.code} it said`, requestId: "req_1", retryAfterMs: null, ms: 5 },
      ...each,
      at: new Date(Date.now() - ago * 1_000).toISOString(),
    }));
    await spine.owner.query(
      `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments,
         toolkit, status, attempts, tried, decision, started_at, finished_at)
       select $1::uuid::text || $10 || '-' || n, $2, $1::uuid, 0, $10::int * 100000 + n, 'call', $3 || '_look', 'read', '{}', $3, $4, $5, $6, $11::json,
         now() - $7 * interval '1 second', case when $8::float8 is not null then now() - $7 * interval '1 second' + $8 * interval '1 millisecond' end
       from generate_series(1, $9) n`,
      [
        ...values,
        toolkit,
        status,
        attempts,
        tried ? JSON.stringify(tried) : null,
        agoSeconds,
        ms,
        times,
        index,
        call.decision ? JSON.stringify(call.decision) : null,
      ],
    );
  }
}

async function installed({ id }: TestTenant, name: string): Promise<string> {
  const toolkitId = newId("toolkit");
  await spine.owner.query(
    `with t as (insert into toolkits (id, tenant_id, kind, name, title, revision, created_at, updated_at)
       values ($1, $2, 'http', $3, 'The shop', 1, now(), now()) returning id)
     insert into toolkit_revisions (toolkit_id, revision, tenant_id, settings, tools, problems, created_at)
     select id, 1, $2, '{}', '[]', '[]', now() from t`,
    [uuidOf(toolkitId), uuidOf(id), name],
  );
  return toolkitId;
}

test("counts calls, failures and times of the window, and nobody else's", async () => {
  const [tenant, other] = [await openTenant(spine), await openTenant(spine)];
  const toolkitId = await installed(tenant, "shop");
  await installed(other, "shop");
  await made(other, [{ status: "failed", tried: [{ attempt: 1, code: "refused" }] }]);
  await made(tenant, [
    ...[100, 200, 300, 400].map((ms) => ({ ms })),
    // Answered at the second attempt.
    { attempts: 2, ms: 50, tried: [{ attempt: 1, code: "timeout" }] },
    // The model read a refusal.
    { status: "failed", tried: [{ attempt: 1, code: "refused", ms: 1_000 }] },
    // Given up, and waiting for a person.
    {
      status: "started",
      attempts: 2,
      ms: null,
      tried: [
        { attempt: 1, code: "unavailable" },
        { attempt: 2, code: "timeout" },
      ],
    },
    // A person says that it happened: the other side never did.
    { status: "succeeded", ms: 3_000_000, tried: [{ attempt: 1, code: "server_error" }], decision: { kind: "done" } },
    { status: "succeeded", ms: 3_000_000, decision: { kind: "done" } },
    { status: "started", ms: null },
    { status: "cancelled" },
    // Too old for an hour.
    { agoSeconds: 4_000, status: "failed", tried: [{ attempt: 1, code: "refused" }] },
  ]);
  const health = await getToolkitHealth(tenant.ctx, { toolkitId });
  expect(health).toMatchObject({
    toolkitId,
    kind: "http",
    name: "shop",
    title: "The shop",
    calls: 11,
    succeeded: 5,
    failed: 3,
    underWay: 1,
    successRate: 5 / 8,
    failures: { timeout: 2, refused: 1, unavailable: 1, server_error: 1 },
    latencyMs: { p50: 200, p95: 1_000 },
    rateLimit: null,
    lastFailure: { tool: "shop_look", requestId: "req_1", advice: expect.any(String) },
    circuits: [],
    connections: { initiated: 0, active: 0, expired: 0, failed: 0, revoked: 0 },
  });
  expect(Date.parse(health.until) - Date.parse(health.since)).toBe(3_600_000);
  expect(await getToolkitHealth(tenant.ctx, { toolkitId, window: "24h" })).toMatchObject({ calls: 12, failed: 4 });
  await expect(getToolkitHealth(other.ctx, { toolkitId })).rejects.toMatchObject({ code: "not_found" });
});

test("where nothing was called there is no rate and no failure", async () => {
  const tenant = await openTenant(spine);
  const toolkitId = await installed(tenant, "quiet");
  expect(await getToolkitHealth(tenant.ctx, { toolkitId })).toMatchObject({
    calls: 0,
    successRate: null,
    failures: {},
    latencyMs: { p50: null, p95: null },
    rateLimit: null,
    lastFailure: null,
  });
});

test("lists what is installed, and what else was called in the window, by name", async () => {
  const tenant = await openTenant(spine);
  await made(tenant, [
    { toolkit: "knowledge" },
    { toolkit: "inline" },
    { toolkit: "old", agoSeconds: 4_000 },
    { toolkit: "shop" },
  ]);
  const toolkitId = await installed(tenant, "shop");
  await installed(tenant, "unused");
  const { items, nextCursor } = await listToolkitHealth(tenant.ctx, {}, page);
  expect(nextCursor).toBeNull();
  expect(
    items.map(({ name, toolkitId: of, calls, connections }) => [name, of === null, calls, connections === null]),
  ).toEqual([
    ["inline", true, 1, true],
    ["knowledge", true, 1, true],
    ["shop", false, 1, false],
    ["unused", false, 0, false],
  ]);
  expect(items[2]).toEqual({
    ...(await getToolkitHealth(tenant.ctx, { toolkitId })),
    until: items[2]?.until,
    since: items[2]?.since,
  });
  const first = await listToolkitHealth(tenant.ctx, {}, { limit: 2, cursor: null });
  expect(first.nextCursor).toBe("knowledge");
  const second = await listToolkitHealth(tenant.ctx, {}, { limit: 2, cursor: first.nextCursor });
  expect([...first.items, ...second.items].map(({ name }) => name)).toEqual(items.map(({ name }) => name));
  expect(second.nextCursor).toBeNull();
});

describe("a rate limit", () => {
  test.each<[string, { retryAfterMs?: number }, Record<string, unknown>]>([
    ["is over when its time is", { retryAfterMs: 30_000 }, { isLimited: false, by: "retry-after" }],
    ["holds for as long as the other side said", { retryAfterMs: 90_000 }, { isLimited: true, by: "retry-after" }],
    ["without a time is only known to have been", {}, { isLimited: false, until: null, by: null }],
  ])("%s", async (_, said, expected) => {
    const tenant = await openTenant(spine);
    const toolkitId = await installed(tenant, "shop");
    const tried = [{ attempt: 1, code: "rate_limited", ...said }];
    await made(tenant, [{ status: "started", ms: null, tried }, { agoSeconds: 10 }]);
    const { rateLimit, lastFailure } = await getToolkitHealth(tenant.ctx, { toolkitId, window: "15m" });
    expect(rateLimit).toMatchObject(expected);
    expect(lastFailure?.code).toBe("rate_limited");
    if (rateLimit?.until && said.retryAfterMs) {
      expect(Date.parse(rateLimit.until) - Date.parse(rateLimit.saidAt)).toBe(said.retryAfterMs);
    }
  });
});

describe("circuits", () => {
  const open = { since: "2026-01-01T00:00:00.000Z", retryAt: "2026-01-01T00:00:10.000Z", failures: 5, code: "timeout" };

  test("of all workers that live are told of, and are gone when they close or their worker is", async () => {
    const [tenant, other] = [await openTenant(spine), await openTenant(spine)];
    const toolkitId = await installed(tenant, "shop");
    const otherToolkitId = await installed(other, "shop");
    const workers = [await addWorker(spine), await addWorker(spine), await addWorker(spine)];
    const [first, second, third] = workers.map((uuid) => reportCircuits(spine.services, uuid));
    const seen = async () => (await getToolkitHealth(tenant.ctx, { toolkitId })).circuits;
    const of = { tenantId: tenant.ctx.tenantId, toolkit: "shop", host: "shop.example" };
    first?.changed({ ...of, open });
    second?.changed({
      ...of,
      open: { ...open, since: "2026-01-01T00:00:05.000Z", retryAt: "2026-01-01T00:00:20.000Z", failures: 6 },
    });
    third?.changed({ ...of, open });
    await waitFor(async () => (await seen())[0]?.workers === 3, { describe: "three workers tell of it" });
    expect(await seen()).toEqual([{ host: "shop.example", ...open, failures: 6, workers: 3 }]);
    expect((await getToolkitHealth(other.ctx, { toolkitId: otherToolkitId })).circuits).toEqual([]);
    await killWorker(spine, workers[2] ?? "");
    expect(await seen()).toMatchObject([{ workers: 2 }]);
    await spine.owner.query("delete from workers where id = $1", [workers[1]]);
    expect(await seen()).toMatchObject([{ workers: 1 }]);
    first?.changed({ ...of, open: { ...open, retryAt: "2026-01-01T00:01:00.000Z" } });
    await waitFor(async () => (await seen())[0]?.retryAt === "2026-01-01T00:01:00.000Z", { describe: "a later time" });
    first?.changed({ ...of, open: null });
    await waitFor(async () => (await seen()).length === 0, { describe: "no open circuit" });
  });

  test("that cannot be written at once are written later, and the last word counts", async () => {
    const tenant = await openTenant(spine);
    const toolkitId = await installed(tenant, "shop");
    let isAway = true;
    const { db, log } = spine.services;
    const connect = () => (isAway ? Promise.reject(new Error("the database is away")) : db.connect());
    const reports = reportCircuits({ db: { ...db, connect }, log }, await addWorker(spine));
    const of = { tenantId: tenant.ctx.tenantId, toolkit: "shop", host: "shop.example" };
    reports.changed({ ...of, open: { ...open, failures: 1 } });
    reports.changed({ ...of, open: { ...open, failures: 2 } });
    isAway = false;
    await waitFor(async () => (await getToolkitHealth(tenant.ctx, { toolkitId })).circuits[0]?.failures === 2, {
      describe: "the report is written",
    });
    reports.stop();
  });

  test("that cannot be written at all keep no other from being written", async () => {
    const tenant = await openTenant(spine);
    const toolkitId = await installed(tenant, "shop");
    const reports = reportCircuits(spine.services, await addWorker(spine));
    reports.changed({ tenantId: newId("tenant"), toolkit: "shop", host: "shop.example", open });
    reports.changed({ tenantId: tenant.ctx.tenantId, toolkit: "shop", host: "shop.example", open });
    await waitFor(async () => (await getToolkitHealth(tenant.ctx, { toolkitId })).circuits.length === 1, {
      describe: "the other report to be written",
    });
    reports.stop();
  });
});

test("with very many calls the newest count, and each statement reads what it needs by an index", async () => {
  const tenant = await openTenant(spine);
  const toolkitId = await installed(tenant, "shop");
  await made(tenant, [{ agoSeconds: 600 }, { toolkit: "zoo", agoSeconds: 300 }], 15_000);
  const failed = { status: "failed", tried: [{ attempt: 1, code: "refused" }] };
  await made(tenant, [{ ...failed, agoSeconds: 900 }], 1_000);
  await spine.owner.query("analyze tool_invocations");
  const health = await getToolkitHealth(tenant.ctx, { toolkitId });
  expect(health).toMatchObject({ calls: MAX_CALLS, succeeded: MAX_CALLS, lastFailure: { code: "refused" } });
  expect(Date.parse(health.until) - Date.parse(health.since)).toBeLessThan(700_000);

  const uuid = uuidOf(tenant.id);
  const names = ["shop", "zoo"];
  for (const [name, values] of [
    ["health_names", [uuid, "", 21, 3_600]],
    ["health_calls", [uuid, names, 3_600, MAX_CALLS]],
    ["health_failures", [uuid, names]],
  ] as const) {
    const { plan, rowsRead } = await explained(tenant, declaredStatements().get(name) ?? "", values);
    expect([name, plan]).toEqual([name, expect.not.stringContaining("Seq Scan on tool_invocations")]);
    expect([name, rowsRead <= 2 * MAX_CALLS + 10]).toEqual([name, true]);
  }
});

/** A statement's plan as the serving role gets it, and the most rows that a node of it read from an index. */
async function explained(tenant: TestTenant, text: string, values: readonly unknown[]) {
  const client = await spine.services.db.pool.connect();
  try {
    await client.query(`begin; set local app.tenant_id = '${uuidOf(tenant.id)}'`);
    const { rows } = await client.query<{ "QUERY PLAN": string }>(`explain (analyze, buffers off) ${text}`, [
      ...values,
    ]);
    const planned = rows.map((row) => row["QUERY PLAN"]).join("\n");
    // As a connection plans it that has run it a few times.
    const generic = await client.query<{ "QUERY PLAN": string }>(`explain (generic_plan) ${text}`);
    const plan = [planned, ...generic.rows.map((row) => row["QUERY PLAN"])].join("\n");
    const scans = [...planned.matchAll(/Scan.* on tool_invocations.*actual time=\S+ rows=([\d.]+) loops=(\d+)/g)];
    expect(scans.length).toBeGreaterThan(0);
    return { plan, rowsRead: Math.max(...scans.map(([, read, loops]) => Number(read) * Number(loops))) };
  } finally {
    await client.query("rollback");
    client.release();
  }
}
