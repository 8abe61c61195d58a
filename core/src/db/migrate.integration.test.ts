import { randomBytes } from "node:crypto";
import { MIGRATION_NAMES } from "@agent-engine/migrations/names.ts";
import pg from "pg";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createEmptyDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { createTenant } from "../tenancy/create-tenant.ts";
import { newId } from "../ids.ts";
import { openDatabase } from "./database.ts";
import { migrate } from "./migrate.ts";

const log = pino({ level: "silent" });
let database: TestDatabase;
/** What the test made outside its database, to be dropped with it. */
let leftovers: (() => Promise<unknown>)[];

beforeEach(async () => {
  database = await createEmptyDatabase();
  leftovers = [];
});
afterEach(async () => {
  const roles = await rolesOf(database.ownerUrl);
  await database.drop();
  for (const drop of leftovers) await drop();
  await asOwner(adminUrl(), (client) => dropRoles(client, roles));
});

async function asOwner<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function adminUrl(): string {
  const url = new URL(database.ownerUrl);
  url.pathname = "/postgres";
  return url.href;
}

async function rolesOf(url: string): Promise<string[]> {
  return asOwner(url, async (client) => {
    const { rows } = await client.query<{ app: string; system: string; accounts: string }>(
      "select app, system, accounts from serving_roles where to_regclass('serving_roles') is not null",
    );
    return rows.flatMap(({ app, system, accounts }) => [app, system, accounts]);
  }).catch(() => []);
}

async function dropRoles(client: pg.Client, roles: readonly string[]): Promise<void> {
  for (const role of roles) await client.query(`drop role if exists ${client.escapeIdentifier(role)}`);
}

/** Everything there is in the schema, to compare. */
function schemaOf(url: string): Promise<{ kind: string; name: string }[]> {
  return asOwner(url, async (client) => {
    const { rows } = await client.query<{ kind: string; name: string }>(`
      select 'table' as kind, relname::text as name from pg_class where relnamespace = 'public'::regnamespace
      union all select 'function', proname from pg_proc where pronamespace = 'public'::regnamespace
      union all select 'migration', name from schema_migrations order by 1, 2`);
    return rows;
  });
}

/** The product can work with what was answered. */
async function serves(servingUrl: string): Promise<void> {
  const db = openDatabase({ url: servingUrl, log });
  try {
    const tenant = await createTenant({ db, newId, clock: Date.now, log }, { name: "First" });
    expect(tenant.name).toBe("First");
    const { rows } = await db.pool.query("select count(*)::int as n, current_user as role from tenants");
    expect(rows).toEqual([{ n: 0, role: new URL(servingUrl).username.replaceAll("%20", " ").replaceAll("%22", '"') }]);
  } finally {
    await db.close();
  }
}

describe("an empty database", () => {
  test("is made ready, and found ready the second time", async () => {
    const { servingUrl, accountsUrl } = await migrate(database.ownerUrl, log);
    const schema = await schemaOf(database.ownerUrl);
    expect(schema.length).toBeGreaterThan(50);
    await serves(servingUrl);
    expect(await migrate(database.ownerUrl, log)).toEqual({ servingUrl, accountsUrl });
    expect(await schemaOf(database.ownerUrl)).toEqual(schema);
  });

  test("of a version that knew no accounts gets their role, and keeps the others", async () => {
    const { servingUrl } = await migrate(database.ownerUrl, log);
    await asOwner(database.ownerUrl, (client) =>
      client.query("alter table serving_roles drop column accounts, drop column accounts_password"),
    );
    const again = await migrate(database.ownerUrl, log);
    expect(again.servingUrl).toBe(servingUrl);
    await asOwner(again.accountsUrl, async (client) => {
      expect((await client.query('select count(*)::int as n from auth."user"')).rows).toEqual([{ n: 0 }]);
      await expect(client.query("select * from tenants")).rejects.toThrow("permission denied");
    });
    await asOwner(servingUrl, (client) =>
      expect(client.query('select * from auth."user"')).rejects.toThrow("permission denied"),
    );
  });

  test("is made ready once by several processes that start at the same moment", async () => {
    const answers = await Promise.all(Array.from({ length: 4 }, () => migrate(database.ownerUrl, log)));
    expect(new Set(answers.map(({ servingUrl }) => servingUrl)).size).toBe(1);
    const applied = (await schemaOf(database.ownerUrl)).filter(({ kind }) => kind === "migration");
    expect(applied.map(({ name }) => name)).toEqual(MIGRATION_NAMES.toSorted());
    await serves(answers[0]?.servingUrl ?? "");
  });
});

describe("an owner", () => {
  /** Makes a login that owns the database, as a hosted Postgres gives one: no superuser. */
  async function ownerWith(password: string): Promise<string> {
    const name = `owner_${randomBytes(4).toString("hex")}`;
    const url = new URL(database.ownerUrl);
    await asOwner(adminUrl(), async (client) => {
      await client.query(`create role ${name} login createrole password ${client.escapeLiteral(password)}`);
      await client.query(`alter database ${url.pathname.slice(1)} owner to ${name}`);
    });
    leftovers.push(() => asOwner(adminUrl(), (client) => dropRoles(client, [name])));
    url.username = name;
    url.password = encodeURIComponent(password);
    return url.href;
  }

  test("whose password holds anything a password may hold, and who is no superuser", async () => {
    const url = await ownerWith(`p@ss:w/ö r%25d?#[]&=+'"\\$\`{}`);
    const { servingUrl, accountsUrl } = await migrate(url, log);
    await serves(servingUrl);
    expect(await migrate(url, log)).toEqual({ servingUrl, accountsUrl });
  });

  test("with the wrong password is told so, at once", async () => {
    const url = new URL(await ownerWith("right"));
    url.password = "wrong";
    await expect(migrate(url.href, log)).rejects.toThrow("password authentication failed");
  });
});

test("a database whose name holds spaces and quotes is as good as any", async () => {
  const name = `te st "${randomBytes(4).toString("hex")}"`;
  await asOwner(adminUrl(), (client) =>
    client.query(`create database ${client.escapeIdentifier(name)} template template0`),
  );
  const url = new URL(database.ownerUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  leftovers.push(async () => {
    const roles = await rolesOf(url.href);
    await asOwner(adminUrl(), async (client) => {
      await client.query(`drop database ${client.escapeIdentifier(name)} with (force)`);
      await dropRoles(client, roles);
    });
  });
  const { servingUrl } = await migrate(url.href, log);
  const db = openDatabase({ url: servingUrl, log });
  await createTenant({ db, newId, clock: Date.now, log }, { name: "First" });
  await db.close();
});

test("a server that is not there is an error, not a wait", async () => {
  const url = new URL(database.ownerUrl);
  url.port = "1";
  await expect(migrate(url.href, log)).rejects.toThrow("ECONNREFUSED");
});
