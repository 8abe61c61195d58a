/**
 * What the serving role can reach, asked of the catalogue itself: every relation and function of every schema. What is
 * no tenant's is named here with the reason; anything else must be under forced row level security.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSpine, type Spine } from "@agent-engine/testing/spine.ts";

let spine: Spine;
let servingRole: string;
let systemRole: string;
let accountsRole: string;

beforeAll(async () => {
  spine = await openSpine();
  const { rows } = await spine.owner.query<{ app: string; system: string; accounts: string }>(
    "select app, system, accounts from serving_roles",
  );
  servingRole = rows[0]?.app ?? "";
  systemRole = rows[0]?.system ?? "";
  accountsRole = rows[0]?.accounts ?? "";
});
afterAll(() => spine.close());

/** Rows of no tenant. Nothing that a tenant or visitor wrote may lie in them. */
const NO_TENANTS: Record<string, string> = {
  "public.webhook_receipts": "ids of events of the installation's own Composio project",
  "public.workers": "the installation's own processes",
};

/** BullMQ's own tables where it keeps its jobs in Postgres: doorbells, which name runs and say nothing of them. */
const DOORBELLS = "bullmq.";

const OURS = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast')";
const REACHES = `(has_table_privilege($1, c.oid, 'select') or has_table_privilege($1, c.oid, 'insert') or has_table_privilege($1, c.oid, 'update')
  or has_table_privilege($1, c.oid, 'delete') or has_table_privilege($1, c.oid, 'truncate') or has_any_column_privilege($1, c.oid, 'select')
  or has_any_column_privilege($1, c.oid, 'update') or has_any_column_privilege($1, c.oid, 'insert'))`;

test("every relation that the serving role reaches is a tenant's, under forced policies, or named as nobody's", async () => {
  const { rows } = await spine.owner.query<{ name: string; kind: string; isSafe: boolean; restrictive: number }>(
    `select n.nspname || '.' || c.relname as name, c.relkind as kind,
       c.relrowsecurity and c.relforcerowsecurity as "isSafe",
       (select count(*)::int from pg_policy p where p.polrelid = c.oid and not p.polpermissive and p.polcmd = '*'
          and $1::regrole = any (p.polroles) and pg_get_expr(p.polqual, p.polrelid) like '%current_tenant()%'
          and pg_get_expr(p.polwithcheck, p.polrelid) like '%current_tenant()%') as restrictive
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where ${OURS} and c.relkind in ('r', 'p', 'v', 'm', 'f') and has_schema_privilege($1, n.oid, 'usage') and ${REACHES}
     order by 1`,
    [servingRole],
  );
  const nobodys = rows.filter(({ name }) => Object.hasOwn(NO_TENANTS, name));
  expect(nobodys.map(({ name }) => name)).toEqual(Object.keys(NO_TENANTS).toSorted());
  const tenants = rows.filter(({ name }) => !Object.hasOwn(NO_TENANTS, name) && !name.startsWith(DOORBELLS));
  expect(tenants.length).toBeGreaterThanOrEqual(17);
  for (const { name, kind, isSafe, restrictive } of tenants) {
    // A view would show what its owner sees; a partition is asked past its parent's policies.
    expect({ name, isTable: ["r", "p"].includes(kind), isSafe, restrictive }).toEqual({
      name,
      isTable: true,
      isSafe: true,
      restrictive: 1,
    });
  }
});

test("accounts and passwords are another role's, which reaches nothing else", async () => {
  const { rows } = await spine.owner.query<{ role: string; schema: string }>(
    `select distinct r.rolname as role, n.nspname as schema from pg_roles r
     cross join pg_class c join pg_namespace n on n.oid = c.relnamespace
     where ${OURS} and r.rolname = any ($2) and c.relkind in ('r', 'p', 'v', 'm', 'f') and $1::text is not null
       and has_schema_privilege(r.oid, n.oid, 'usage') and ${REACHES.replaceAll("$1", "r.oid")}`,
    [servingRole, [servingRole, accountsRole]],
  );
  const reached = rows.filter(({ schema }) => `${schema}.` !== DOORBELLS);
  expect(reached.toSorted((a, b) => a.role.localeCompare(b.role))).toEqual(
    [
      { role: accountsRole, schema: "auth" },
      { role: servingRole, schema: "public" },
    ].toSorted((a, b) => a.role.localeCompare(b.role)),
  );
});

test("no partition is open beside its parent", async () => {
  const { rows } = await spine.owner.query(
    `select c.oid::regclass as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where ${OURS} and c.relispartition and c.relkind in ('r', 'p') and ${REACHES}`,
    [servingRole],
  );
  expect(rows).toEqual([]);
});

test("no serving role owns a relation it could open, makes objects, or steps around policies", async () => {
  for (const role of [servingRole, systemRole, accountsRole]) {
    const { rows } = await spine.owner.query(
      `select r.rolbypassrls as "bypasses", r.rolsuper as "isSuper", r.rolcreaterole as "createsRoles",
         (select count(*)::int from pg_class c where c.relowner = r.oid) as relations,
         (select count(*)::int from pg_namespace n where n.nspowner = r.oid) as schemas,
         (select count(*)::int from pg_auth_members m where m.member = r.oid) as memberships
       from pg_roles r where r.rolname = $1`,
      [role],
    );
    expect(rows).toEqual([
      { bypasses: false, isSuper: false, createsRoles: false, relations: 0, schemas: 0, memberships: 0 },
    ]);
  }
  const { rows } = await spine.owner.query(
    `select n.nspname from pg_namespace n where ${OURS} and has_schema_privilege($1, n.oid, 'create') and n.nspname !~ '^pg_'`,
    [servingRole],
  );
  expect(rows).toEqual([]);
});

test("every function that acts as its owner looks names up where nobody can plant any, and is not everybody's", async () => {
  const { rows } = await spine.owner.query<{ name: string; path: string | null; open: boolean }>(
    `select n.nspname || '.' || p.proname as name,
       (select each from unnest(p.proconfig) each where each like 'search_path=%') as path,
       has_function_privilege('public', p.oid, 'execute') as open
     from pg_proc p join pg_namespace n on n.oid = p.pronamespace where ${OURS} and p.prosecdef order by 1`,
  );
  expect(rows.length).toBeGreaterThan(8);
  for (const { name, path, open } of rows) {
    expect({ name, path, open }).toEqual({
      name,
      path: expect.stringMatching(/^search_path=pg_catalog\b.*, pg_temp$/),
      open: false,
    });
  }
});

test("no event trigger, rule or default privilege opens what comes later", async () => {
  const { rows: rules } = await spine.owner.query(
    `select r.rulename from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
     where ${OURS} and c.relkind in ('r', 'p')`,
  );
  const { rows: defaults } = await spine.owner.query(
    `select defaclobjtype from pg_default_acl where defaclobjtype = 'r' and defaclacl::text like '%' || $1 || '%'`,
    [servingRole],
  );
  expect([rules, defaults]).toEqual([[], []]);
});
