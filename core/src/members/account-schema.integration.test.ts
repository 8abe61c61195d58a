import { getMigrations } from "better-auth/db/migration";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTestServices, type TestServices } from "@agent-engine/testing/tenants.ts";
import pg from "pg";
import { authOptions } from "./authentication.ts";

let services: TestServices;
beforeAll(async () => {
  services = await openTestServices();
});
afterAll(() => services.close());

test("the accounts' tables are what this version of better-auth needs, with its options as they are", async () => {
  const options = authOptions({ services, apiUrl: "http://localhost:3000", trustedOrigins: [] });
  const { toBeCreated, toBeAdded, compileMigrations } = await getMigrations(options);
  expect({ toBeCreated, toBeAdded }).toEqual({ toBeCreated: [], toBeAdded: [] });
  expect((await compileMigrations()).replaceAll(/[;\s]/g, "")).toBe("");
});

test("the role that serves tenants sees no account, and the role of the accounts no tenant", async () => {
  const tables = ["user", "session", "account", "verification", "rateLimit"];
  for (const table of tables) {
    await expect(services.db.pool.query(`select 1 from auth."${table}"`)).rejects.toThrow("permission denied");
    await services.accounts.pool().query(`select 1 from auth."${table}"`);
  }
  const { rows } = await services.db.pool.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')",
  );
  expect(rows.length).toBeGreaterThan(20);
  for (const { name } of rows) {
    await expect(services.accounts.pool().query(`select 1 from public."${name}"`)).rejects.toThrow("permission denied");
  }
});

test("deleting an account ends its memberships and nothing else", async () => {
  const owner = new pg.Client({ connectionString: services.ownerUrl });
  await owner.connect();
  try {
    await owner.query(
      `insert into auth."user" ("id", "name", "email", "emailVerified") values ('user_x', 'X', 'x@x.example', true)`,
    );
    await owner.query("insert into tenants (id, name) values (gen_random_uuid(), 'T')");
    await owner.query(
      `insert into members (id, tenant_id, user_id, email, role, joined_at)
       select gen_random_uuid(), id, 'user_x', 'x@x.example', 'owner', now() from tenants`,
    );
    await services.accounts.pool().query(`delete from "user" where "id" = 'user_x'`);
    const { rows } = await owner.query(
      "select (select count(*)::int from members) as members, (select count(*)::int from tenants) as tenants",
    );
    expect(rows).toEqual([{ members: 0, tenants: 1 }]);
  } finally {
    await owner.end();
  }
});
