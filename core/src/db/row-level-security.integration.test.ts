import { randomBytes } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  addWorker,
  ask,
  jobsOf,
  openSpine,
  openTenant,
  startConversation,
  visitorOf,
  work,
  type Spine,
} from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import type { Ctx } from "../context.ts";
import { createConversation } from "../conversations/create-conversation.ts";
import { getConversation } from "../conversations/get-conversation.ts";
import { listConversations } from "../conversations/list-conversations.ts";
import { sendMessage } from "../conversations/send-message.ts";
import { appendInTransaction } from "../events/append-in-transaction.ts";
import { appendEvents, appendOutcomes, appendValues, type NewEvent } from "../events/append.ts";
import { readEvents } from "../events/read-events.ts";
import { idempotent } from "../idempotency/idempotent.ts";
import { newId, uuidOf } from "../ids.ts";
import { createDocument } from "../knowledge/create-document.ts";
import { createProviderKey } from "../models/create-provider-key.ts";
import { cancelRun } from "../runs/cancel-run.ts";
import { getRun } from "../runs/get-run.ts";
import { listRuns } from "../runs/list-runs.ts";
import { startRun } from "../runs/start-run.ts";
import { createSchedule } from "../schedules/create-schedule.ts";
import { createSite } from "../sites/create-site.ts";
import { rotateIdentitySecret } from "../sites/rotate-identity-secret.ts";
import { eraseVisitor } from "../visitors/erase-visitor.ts";
import { revokeSessions } from "../visitors/revoke-sessions.ts";
import { openDatabase, type Database } from "./database.ts";
import { ConversationEntity } from "./entities/entities.ts";
import { inTenantEntities } from "./entity-transaction.ts";
import { statement } from "./statement.ts";
import { inTenant } from "./transaction.ts";

let spine: Spine;
let a: TestTenant;
let b: TestTenant;
/** A conversation of tenant A with a run under way. */
let conversationId: string;
let runId: string;
let servingRole: string;
let systemRole: string;
let serving: pg.Pool;

beforeAll(async () => {
  spine = await openSpine();
  [a, b] = await Promise.all([openTenant(spine), openTenant(spine)]);
  const worker = await addWorker(spine);
  for (const tenant of [a, b]) conversationId = await fill(tenant, worker);
  conversationId = await fill(a, worker);
  const { rows } = await spine.owner.query<{ app: string; system: string }>("select app, system from serving_roles");
  servingRole = rows[0]?.app ?? "";
  systemRole = rows[0]?.system ?? "";
  serving = spine.services.db.pool;
});
afterAll(() => spine.close());

/** Leaves a row of the tenant in every table. */
async function fill(tenant: TestTenant, worker: string): Promise<string> {
  const { ctx } = tenant;
  const id = await startConversation(tenant);
  const request = { key: newId("key"), route: "POST /test", body: {}, status: 201 };
  await idempotent(ctx, request, async () => ({ done: true }));
  await createProviderKey(ctx, { provider: "openai", apiKey: "vendor-key-of-a-tenant" });
  await createDocument(ctx, { title: "Hours", url: null, text: "We open at nine." });
  const visitor = await visitorOf(tenant);
  await leaveSession(tenant, visitor);
  const theirs = await createConversation(visitor, {});
  if (visitor.actor.kind === "visitor") await eraseVisitor(ctx, visitor.actor.visitorId);
  const gone = [uuidOf(await startConversation(tenant)), uuidOf(tenant.id)];
  await spine.owner.query("delete from conversations where id = $1 and tenant_id = $2", gone);
  expect((await getConversation(ctx, theirs.id)).visitorId).toBeNull();
  const { run } = await ask(ctx, id);
  runId = run.id;
  await work(spine, worker, run.id);
  const values = [uuidOf(run.id), uuidOf(tenant.id)];
  await spine.owner.query(
    `insert into steps (run_id, step_index, tenant_id, key, status, usage)
     values ($1::uuid, 0, $2, $1::text || ':0', 'tools', '[{"provider": "openai", "model": "m", "inputTokens": 1}]')`,
    values,
  );
  await spine.owner.query(
    `insert into tool_invocations (idempotency_key, tenant_id, run_id, step_index, call_index, tool_call_id, tool, effect, arguments)
     values ($1::text || ':0:0', $2, $1::uuid, 0, 0, 'call', 'look_up', 'read', '{}')`,
    values,
  );
  await spine.owner.query(
    `insert into members (id, tenant_id, email, role, invitation_hash, invitation_expires_at)
     values ($1, $2, $3::text || '@example.com', 'viewer', $4, now() + interval '1 day')`,
    [uuidOf(newId("member")), uuidOf(tenant.id), id, randomBytes(32)],
  );
  await createSchedule(ctx, {
    agentId: tenant.agentId,
    conversationId: id,
    at: new Date(Date.now() + 3_600_000).toISOString(),
    input: "Say hello",
  });
  await spend(tenant, run.id, id);
  await install(tenant, run.id);
  await spine.owner.query(
    `insert into tool_circuits (tenant_id, toolkit, host, worker_id, since, retry_at, failures, code)
     values ($1, $2, 'shop.example', $3, now(), now(), 5, 'timeout')`,
    [uuidOf(tenant.id), run.id, worker],
  );
  await spine.owner.query(
    "insert into idempotency_claims (tenant_id, principal, key, expires_at) values ($1, 'p', $2, now())",
    [uuidOf(tenant.id), run.id],
  );
  return id;
}

/** A toolkit, an account connected for it, and somebody on their way to connect it. */
async function install({ id }: TestTenant, ofRun: string): Promise<void> {
  const [tenant, toolkit, connection] = [uuidOf(id), uuidOf(newId("toolkit")), uuidOf(newId("conn"))];
  const { owner } = spine;
  await owner.query(
    `insert into toolkits (id, tenant_id, kind, name, title, revision, created_at, updated_at)
     values ($1, $2, 'http', $3, 'Shop', 1, now(), now())`,
    [toolkit, tenant, ofRun],
  );
  await owner.query(
    `insert into toolkit_revisions (toolkit_id, revision, tenant_id, settings, tools, problems, created_at)
     values ($1, 1, $2, '{}', '[]', '[]', now())`,
    [toolkit, tenant],
  );
  await owner.query(
    `insert into connections (id, tenant_id, toolkit_id, status, created_at, updated_at)
     values ($1, $2, $3, 'active', now(), now())`,
    [connection, tenant, toolkit],
  );
  await owner.query(
    `insert into connection_links (state_hash, tenant_id, connection_id, run_id, url, account, expires_at, created_at)
     values ($1, $2, $3, $4, 'https://accounts.example', '{}', now(), now())`,
    [randomBytes(32), tenant, connection, uuidOf(ofRun)],
  );
}

/** A price, a budget, what was used of it and what a run under way may use. */
async function spend({ id }: TestTenant, ofRun: string, conversation: string): Promise<void> {
  const [tenant, budget] = [uuidOf(id), uuidOf(newId("budget"))];
  const { owner } = spine;
  await owner.query(
    "insert into model_prices (id, tenant_id, model, input, cached_input, output) values ($1, $2, $3, 1, 1, 1)",
    [uuidOf(newId("price")), tenant, conversation],
  );
  await owner.query(
    "insert into budgets (id, tenant_id, name, subject, period, max_tokens) values ($1, $2, 'All', 'tenant', 'day', 1000)",
    [budget, tenant],
  );
  await owner.query(
    `insert into budget_periods (budget_id, subject_id, starts_on, tenant_id, runs, tokens, cost_micros)
     values ($1, $2, current_date, $2, 1, 10, 0)`,
    [budget, tenant],
  );
  await owner.query(
    `insert into client_tools (conversation_id, page_id, tenant_id, tools, created_at, expires_at)
     values ($1, 'p', $2, '[]', now(), now() + interval '1 minute')`,
    [uuidOf(conversation), tenant],
  );
  await owner.query(
    `insert into budget_holds (run_id, tenant_id, conversation_id, epoch, number, state, tokens, cost_micros, budget_ids, subject_ids, starts_on)
     values ($1, $2, $3, 1, 0, 'held', 10, 0, array[$4::uuid], array[$2::uuid], array[current_date])`,
    [uuidOf(ofRun), tenant, uuidOf(conversation), budget],
  );
}

/** Of visitors who were identified, and of sessions that ended. */
async function leaveSession({ ctx, siteId, id }: TestTenant, visitor: Ctx): Promise<void> {
  await rotateIdentitySecret(ctx, { siteId, overlapSeconds: 0 });
  if (visitor.actor.kind !== "visitor") throw new Error("not a visitor");
  await revokeSessions(ctx, visitor.actor.visitorId);
  await spine.owner.query(
    `insert into used_identity_tokens (site_id, token_hash, tenant_id, session_id, expires_at)
     values ($1, $2, $3, $4, now() + interval '1 hour')`,
    [uuidOf(siteId), randomBytes(32), uuidOf(id), uuidOf(newId("session"))],
  );
  await spine.owner.query(
    "insert into used_challenges (token_hash, tenant_id, expires_at) values ($1, $2, now() + interval '1 hour')",
    [randomBytes(32), uuidOf(id)],
  );
}

interface Table {
  table: string;
  tenantColumn: string;
}

/** Every table that holds a tenant's rows, partitions apart. */
async function tenantTables(): Promise<Table[]> {
  const { rows } = await spine.owner.query<Table>(`
    select c.relname as table, a.attname as "tenantColumn" from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attname = case c.relname when 'tenants' then 'id' else 'tenant_id' end
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition order by 1`);
  return rows;
}

describe("the catalogue", () => {
  test("knows every tenant's table, and each is forced under both policies", async () => {
    const tables = await tenantTables();
    expect(tables.map(({ table }) => table)).toContain("events");
    expect(tables.length).toBeGreaterThanOrEqual(17);
    const { rows } = await spine.owner.query(
      `
      select c.relname as table, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
        (select json_agg(json_build_array(p.polname, p.polpermissive, p.polcmd, p.polroles::regrole[]::text[]) order by p.polname)
         from pg_policy p where p.polrelid = c.oid) as policies,
        (select count(*)::int from pg_policy p where p.polrelid = c.oid and p.polname <> 'system'
           and (pg_get_expr(p.polqual, p.polrelid) not like '%current_tenant()%'
             or pg_get_expr(p.polwithcheck, p.polrelid) not like '%current_tenant()%')) as open
      from pg_class c where c.oid = any ($1::text[]::regclass[])`,
      [tables.map(({ table }) => table)],
    );
    expect(rows).toHaveLength(tables.length);
    for (const row of rows) {
      expect(row).toEqual({
        table: row.table,
        enabled: true,
        forced: true,
        policies: [
          ["system", true, "*", [systemRole]],
          ["tenant", true, "*", [servingRole]],
          ["tenant_only", false, "*", [servingRole]],
        ],
        open: 0,
      });
    }
  });

  test("gives the serving role nothing by which it could step around the policies", async () => {
    const { rows } = await spine.owner.query(
      `select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
         (select count(*)::int from pg_auth_members m where m.member = r.oid) as memberships,
         (select count(*)::int from pg_class c where c.relowner = r.oid) as owned,
         has_schema_privilege(r.oid, 'public', 'create') as creates
       from pg_roles r where rolname = any ($1) order by rolname`,
      [[servingRole, systemRole]],
    );
    const none = {
      rolsuper: false,
      rolbypassrls: false,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
    };
    expect(rows[0]).toEqual({ ...none, memberships: 0, owned: 0, creates: false });
    expect(rows[1]).toMatchObject({ ...none, memberships: 0, owned: 0 });
    const login = await spine.owner.query("select rolcanlogin from pg_roles where rolname = $1", [systemRole]);
    expect(login.rows).toEqual([{ rolcanlogin: false }]);
  });

  test("lets nobody but its functions write the log: one adds, one hides what an erasure names, one removes what is gone", async () => {
    const { rows } = await spine.owner.query<{ table: string; role: string; privileges: string[] }>(
      `select c.oid::regclass::text as table, role,
         array(select p from unnest(array['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) p
               where has_table_privilege(role, c.oid, p) or (p in ('INSERT', 'UPDATE') and has_any_column_privilege(role, c.oid, p))) as privileges
       from pg_class c, unnest($1::text[]) role
       where c.oid = 'events'::regclass or c.oid in (select inhrelid from pg_inherits where inhparent = 'events'::regclass)`,
      [[servingRole, systemRole]],
    );
    expect(rows.length).toBeGreaterThan(20);
    const granted = rows.filter(({ privileges }) => privileges.length > 0);
    expect(granted).toEqual([{ table: "events", role: systemRole, privileges: ["INSERT", "UPDATE", "DELETE"] }]);
    const writers = await spine.owner.query<{ name: string; writes: string[] }>(
      `select p.proname as name, array(select distinct m[1] from regexp_matches(lower(p.prosrc), '(insert into|update|delete from) events\\M', 'g') m) as writes
       from pg_proc p where p.pronamespace = 'public'::regnamespace and lower(p.prosrc) ~ '(insert into|update|delete from) events\\M'
       order by 1`,
    );
    expect(writers.rows).toEqual([
      { name: "append_events", writes: ["insert into"] },
      { name: "append_to_conversation", writes: ["insert into"] },
      { name: "erase_conversation", writes: ["update"] },
      { name: "purge_deleted_log", writes: ["delete from"] },
    ]);
    const columns = await spine.owner.query<{ name: string }>(
      `select attname as name from pg_attribute
       where attrelid = 'events'::regclass and attnum > 0 and has_column_privilege($1, attrelid, attnum, 'UPDATE') order by 1`,
      [systemRole],
    );
    expect(columns.rows.map(({ name }) => name)).toEqual(["correlation_id", "event"]);
  });

  test("keeps the serving role's password from the serving role, and from everyone but the owner", async () => {
    const { rows } = await spine.owner.query(
      `select role, t, has_table_privilege(role, t, 'select') as reads
       from unnest($1::text[]) role, unnest(array['serving_roles', 'schema_migrations']) t where has_table_privilege(role, t, 'select')`,
      [[servingRole, systemRole]],
    );
    expect(rows).toEqual([]);
  });

  test("has no function that works across tenants without a fixed search path, or that everyone may call", async () => {
    const { rows } = await spine.owner.query<{ name: string; config: string[] | null; owner: string; open: boolean }>(
      `select p.proname as name, p.proconfig as config, p.proowner::regrole::text as owner,
         has_function_privilege('public', p.oid, 'execute') as open
       from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prosecdef`,
    );
    expect(rows.length).toBeGreaterThan(8);
    for (const { name, config, open } of rows) {
      expect({ name, config, open }).toEqual({
        name,
        config: ["search_path=pg_catalog, public, pg_temp"],
        open: false,
      });
    }
    const owned = rows.filter(({ owner }) => owner !== systemRole).map(({ name }) => name);
    expect(owned.toSorted()).toEqual(["ensure_event_partitions", "ensure_event_partitions_ahead"]);
  });

  test("lets no temporary table stand in for a real one in such a function", async () => {
    const client = await spine.services.db.pool.connect();
    try {
      await client.query("create temporary table tenants (id uuid); grant select on tenants to public");
      expect((await client.query("select database_is_empty() as empty")).rows).toEqual([{ empty: false }]);
    } finally {
      client.release(true);
    }
  });
});

/** Rows that the serving role sees, by table and by whether they are the tenant's. */
async function visible(client: Pick<pg.Pool, "query">, tables: readonly Table[], tenantId: string) {
  const seen: Record<string, { own: number; foreign: number }> = {};
  for (const { table, tenantColumn } of tables) {
    const { rows } = await client.query<{ own: number; foreign: number }>(
      `select count(*) filter (where ${tenantColumn} = $1)::int as own, count(*) filter (where ${tenantColumn} <> $1)::int as foreign
       from ${table}`,
      [uuidOf(tenantId)],
    );
    seen[table] = rows[0] ?? { own: -1, foreign: -1 };
  }
  return seen;
}

describe("reading", () => {
  test("without a tenant shows no row of any table; with one, its own and no others", async () => {
    const tables = await tenantTables();
    const everything = await visible(spine.owner, tables, a.id);
    for (const [table, { own, foreign }] of Object.entries(everything)) {
      expect([table, own > 0, foreign > 0]).toEqual([table, true, true]);
    }
    for (const [table, count] of Object.entries(await visible(serving, tables, a.id))) {
      expect([table, count]).toEqual([table, { own: 0, foreign: 0 }]);
    }
    const client = await serving.connect();
    try {
      await client.query(`begin; set local app.tenant_id = '${uuidOf(a.id)}'`);
      for (const [table, { own, foreign }] of Object.entries(await visible(client, tables, a.id))) {
        expect([table, own > 0, foreign]).toEqual([table, true, 0]);
      }
    } finally {
      await client.query("rollback");
      client.release();
    }
  });

  test("nothing of a tenant is left on a connection: not after a commit, a failure or a statement by itself", async () => {
    const probe = statement<{ tenant: string | null; n: string }>(
      "test_tenant_left",
      "select current_setting('app.tenant_id', true) as tenant, (select count(*) from conversations) as n",
    );
    await inTenant(spine.services.db, a.id, (tx) => tx.query(probe, []));
    await expect(inTenant(spine.services.db, a.id, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    await ask(a.ctx, await startConversation(a));
    await readEvents(a.ctx, { conversationId, after: 0, limit: 1 });
    const left = await Promise.all(Array.from({ length: 20 }, () => spine.services.db.query(probe, [])));
    for (const [row] of left) expect(row).toMatchObject({ n: "0" });
    for (const [row] of left) expect(row?.tenant || null).toBeNull();
  });

  describe("on a pool of two connections that tenants share", () => {
    let db: Database;
    let tenants: TestTenant[];
    const all = statement<{ tenant_id: string }>("test_all_conversations", "select tenant_id from conversations");

    beforeAll(async () => {
      const url = new URL(spine.services.ownerUrl);
      const { rows } = await spine.owner.query<{ password: string }>("select password from serving_roles");
      url.username = servingRole;
      url.password = rows[0]?.password ?? "";
      db = openDatabase({ url: url.href, poolSize: 2, log: spine.services.log });
      tenants = Array.from({ length: 60 }, (_, index) => (index % 2 === 0 ? a : b));
    });
    afterAll(() => db.close());

    test("prepared statements show each its own", async () => {
      const seen = await Promise.all(tenants.map(({ id }) => inTenant(db, id, (tx) => tx.query(all, []))));
      for (const [index, rows] of seen.entries()) {
        expect(new Set(rows.map(({ tenant_id }) => tenant_id.replaceAll("-", "")))).toEqual(
          new Set([uuidOf(tenants[index]?.id ?? "")]),
        );
      }
    });

    test("so do entities", async () => {
      const seen = await Promise.all(
        tenants.map(({ id }) => inTenantEntities(db, id, ({ em }) => em.findAll(ConversationEntity))),
      );
      for (const [index, rows] of seen.entries()) {
        expect(new Set(rows.map(({ tenantId }) => tenantId))).toEqual(new Set([tenants[index]?.id]));
      }
    });
  });

  test("another tenant's ids are as unknown as ids that never were", async () => {
    const nobody = newId("conv");
    for (const id of [conversationId, nobody]) {
      await expect(getConversation(b.ctx, id)).rejects.toMatchObject({ code: "not_found" });
      await expect(sendMessage(b.ctx, { conversationId: id, clientMessageId: "x", text: "hi" })).rejects.toMatchObject({
        code: "not_found",
      });
      await expect(startRun(b.ctx, { agentId: b.agentId, input: "hi", conversationId: id })).rejects.toMatchObject({
        code: "not_found",
      });
      expect(await readEvents(b.ctx, { conversationId: id, after: 0, limit: 10 })).toEqual([]);
    }
    for (const id of [runId, newId("run")]) {
      await expect(getRun(b.ctx, id)).rejects.toMatchObject({ code: "not_found" });
      await expect(cancelRun(b.ctx, id)).rejects.toMatchObject({ code: "not_found" });
    }
    expect(await getRun(a.ctx, runId)).toMatchObject({ status: "running" });
    const listed = await listConversations(b.ctx, { limit: 100, cursor: null });
    expect(listed.items.map(({ id }) => id)).not.toContain(conversationId);
    expect((await listRuns(b.ctx, { limit: 100, cursor: null, conversationId })).items).toEqual([]);
  });
});

describe("writing", () => {
  const event: NewEvent = {
    event: { type: "STEP_STARTED", stepName: "foreign" },
    audience: "all",
    runId: null,
    correlationId: "test",
  };

  async function events(): Promise<number> {
    const { rows } = await spine.owner.query("select from events where conversation_id = $1", [uuidOf(conversationId)]);
    return rows.length;
  }

  test("an append in tenant B's name to tenant A's conversation is refused, whoever says what", async () => {
    const before = await events();
    const asB = (ctx: Ctx) =>
      inTenant(spine.services.db, b.id, (tx) =>
        appendInTransaction(ctx, tx, { conversationId, fence: null, events: [event] }),
      );
    await expect(asB(b.ctx)).rejects.toThrow();
    // Even when the code names the right tenant, the session's is what counts.
    await expect(asB(a.ctx)).rejects.toThrow();
    const slots = [{ conversationId, tenantId: b.id, fence: null, events: [event] }];
    const byWorker = await spine.services.db.query(appendEvents, appendValues(slots));
    expect(appendOutcomes(slots, byWorker)).toEqual([{ outcome: "fenced" }]);
    const rightly = [{ ...slots[0], conversationId, tenantId: a.id, fence: null, events: [event] }];
    const inB = await inTenant(spine.services.db, b.id, (tx) => tx.query(appendEvents, appendValues(rightly)));
    expect(appendOutcomes(rightly, inB)).toEqual([{ outcome: "fenced" }]);
    expect(await events()).toBe(before);
  });

  test("the log takes no write but the append, from the serving role or in a function's name", async () => {
    const client = await serving.connect();
    try {
      for (const sql of [
        "insert into events select * from events limit 0",
        "update events set audience = 'all'",
        "delete from events",
        "truncate events",
        "delete from events_default",
        "update conversation_heads set last_seq = 0",
        "delete from conversation_heads",
        "update agent_versions set config = '{}'",
        "alter table events disable row level security",
        `set role "${systemRole}"`,
        "select * from serving_roles",
        "create table public.mine (id int)",
      ]) {
        await client.query(`begin; set local app.tenant_id = '${uuidOf(a.id)}'`);
        await expect(client.query(sql), sql).rejects.toMatchObject({ code: "42501" });
        await client.query("rollback");
      }
    } finally {
      client.release();
    }
  });

  test("a row in another tenant's name is refused, and another tenant's rows are not there to change", async () => {
    const client = await serving.connect();
    try {
      await client.query(`begin; set local app.tenant_id = '${uuidOf(b.id)}'`);
      const changed = await client.query("update conversations set mode = 'operator' where tenant_id = $1", [
        uuidOf(a.id),
      ]);
      expect(changed.rowCount).toBe(0);
      const deleted = await client.query("delete from documents where tenant_id = $1", [uuidOf(a.id)]);
      expect(deleted.rowCount).toBe(0);
      const insert = client.query("insert into visitors (id, tenant_id) values ($1, $2)", [
        uuidOf(newId("visitor")),
        uuidOf(a.id),
      ]);
      await expect(insert).rejects.toThrow("row-level security");
    } finally {
      await client.query("rollback");
      client.release();
    }
  });

  test("another tenant's agent can be given neither a conversation nor a site", async () => {
    await expect(startConversation({ ctx: b.ctx, agentId: a.agentId })).rejects.toMatchObject({ code: "not_found" });
    await expect(startRun(b.ctx, { agentId: a.agentId, input: "hi" })).rejects.toMatchObject({ code: "not_found" });
    await expect(createSite(b.ctx, { name: "Theirs", agentId: a.agentId, allowedOrigins: [] })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  test("the dispatcher's functions refuse a run of a tenant that is not the session's", async () => {
    const enqueue = statement("test_enqueue", "select enqueue_run($1, 9, $2, 'priority', 'c', false)");
    const unblock = statement("test_unblock", "select * from unblock_next($1)");
    const asB = inTenant(spine.services.db, b.id, (tx) => tx.query(enqueue, [uuidOf(runId), uuidOf(a.id)]));
    await expect(asB).rejects.toThrow("enqueue_run");
    await ask(a.ctx, conversationId);
    const unblocked = inTenant(spine.services.db, b.id, (tx) => tx.query(unblock, [uuidOf(conversationId)]));
    await expect(unblocked).rejects.toThrow("unblock_next");
    expect(await jobsOf(spine, runId)).toEqual([{ handOver: 1, state: "done" }]);
  });
});
