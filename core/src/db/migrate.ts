import { randomBytes } from "node:crypto";
import { MIGRATION_NAMES } from "@agent-engine/migrations/names.ts";
import { runMigrations as runQueueMigrations } from "bullmq";
import pg from "pg";
import type { Logger } from "pino";
import { QUEUE_SCHEMA } from "../queue/brokers.ts";

export interface Migrated {
  /** The URL of the serving role, which is neither owner nor superuser. */
  servingUrl: string;
  /** The URL of the role that sees people's accounts, and nothing else. */
  accountsUrl: string;
}

/** One process migrates at a time; the others wait here, then find nothing to do. */
const MIGRATION_LOCK = 4_207_112_001;

/** Serialises the making of roles, which are shared by all databases of a server. */
const ROLES_LOCK = 4_207_112_002;

/**
 * Brings the database up to date with the owner's URL and answers the serving role's.
 *
 * The serving role's password is made here and kept where only the owner can read it, so that rotating `SECRET_KEY`
 * never locks a process out. Errors: whatever Postgres says, with the migration's name in the message.
 */
export async function migrate(ownerUrl: string, log: Logger): Promise<Migrated> {
  const owner = new pg.Client({ connectionString: ownerUrl, connectionTimeoutMillis: 5_000 });
  owner.on("error", (error) => log.warn({ err: error }, "postgres connection lost while migrating"));
  await owner.connect();
  try {
    await owner.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]);
    const roles = await ensureRoles(owner);
    if (!(await isUpToDate(owner))) await runMigrations(ownerUrl, roles, log);
    await migrateQueue(owner, roles);
    return {
      servingUrl: urlOf(ownerUrl, roles.app, roles.password),
      accountsUrl: urlOf(ownerUrl, roles.accounts, roles.accountsPassword),
    };
  } finally {
    await owner.end();
  }
}

function urlOf(ownerUrl: string, role: string, password: string): string {
  const url = new URL(ownerUrl);
  url.username = encodeURIComponent(role);
  url.password = encodeURIComponent(password);
  return url.href;
}

export interface ServingRoles {
  app: string;
  password: string;
  system: string;
  accounts: string;
  accountsPassword: string;
}

const LOGIN = "login nosuperuser nobypassrls nocreatedb nocreaterole noinherit";

/** The roles of this database: made at the first start, or, by a later version that has more of them, completed. */
async function ensureRoles(owner: pg.Client): Promise<ServingRoles> {
  await owner.query(`
    create table if not exists serving_roles (app text not null, password text not null, system text not null);
    alter table serving_roles add column if not exists accounts text, add column if not exists accounts_password text;
    revoke all on serving_roles from public;
  `);
  const { rows } = await owner.query<ServingRoles>(
    `select app, password, system, accounts, accounts_password as "accountsPassword" from serving_roles`,
  );
  const known: Partial<ServingRoles> = rows[0] ?? {};
  if (known.accounts) return known as ServingRoles;

  const current = await owner.query<{ name: string }>("select current_database() as name");
  const database = (current.rows[0]?.name ?? "agent_engine").slice(0, 48);
  const roles = {
    app: known.app ?? `${database}_app`,
    password: known.password ?? randomBytes(24).toString("hex"),
    system: known.system ?? `${database}_system`,
    accounts: `${database}_accounts`,
    accountsPassword: randomBytes(24).toString("hex"),
  };
  await owner.query("begin");
  await owner.query("select pg_advisory_xact_lock($1)", [ROLES_LOCK]);
  if (!known.app) {
    await makeRole(owner, roles.app, `${LOGIN} password '${roles.password}'`);
    await makeRole(owner, roles.system, "nologin nosuperuser nobypassrls nocreatedb nocreaterole");
    // The functions that work across tenants are handed to this role, which takes membership of it.
    await owner.query(`grant ${owner.escapeIdentifier(roles.system)} to current_user`);
  }
  await makeRole(owner, roles.accounts, `${LOGIN} password '${roles.accountsPassword}'`);
  await owner.query("delete from serving_roles");
  await owner.query(
    "insert into serving_roles (app, password, system, accounts, accounts_password) values ($1, $2, $3, $4, $5)",
    [roles.app, roles.password, roles.system, roles.accounts, roles.accountsPassword],
  );
  await owner.query("commit");
  return roles;
}

async function makeRole(owner: pg.Client, role: string, options: string): Promise<void> {
  const exists = await owner.query("select 1 from pg_roles where rolname = $1", [role]);
  await owner.query(`${exists.rowCount ? "alter" : "create"} role ${owner.escapeIdentifier(role)} ${options}`);
}

async function runMigrations(ownerUrl: string, roles: ServingRoles, log: Logger): Promise<void> {
  const { applyMigrations } = await import("./apply-migrations.ts");
  await applyMigrations(ownerUrl, roles, log);
}

/** Whether every migration of this version is in the database already: then the migrator need not be loaded. */
async function isUpToDate(owner: pg.Client): Promise<boolean> {
  const table = await owner.query("select to_regclass('public.schema_migrations') is not null as there");
  if (!table.rows[0]?.there) return false;
  const applied = await owner.query<{ name: string }>("select name from schema_migrations");
  const names = new Set(applied.rows.map(({ name }) => name));
  return MIGRATION_NAMES.every((name) => names.has(name));
}

/** BullMQ's own tables, for where there is no Redis. */
async function migrateQueue(owner: pg.Client, roles: ServingRoles): Promise<void> {
  await runQueueMigrations(owner, QUEUE_SCHEMA);
  const app = owner.escapeIdentifier(roles.app);
  await owner.query(`
    grant usage on schema ${QUEUE_SCHEMA} to ${app};
    grant select, insert, update, delete, truncate on all tables in schema ${QUEUE_SCHEMA} to ${app};
    grant usage on all sequences in schema ${QUEUE_SCHEMA} to ${app};
    grant execute on all functions in schema ${QUEUE_SCHEMA} to ${app};
  `);
}
