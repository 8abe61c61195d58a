import { randomBytes } from "node:crypto";
import { MIGRATION_NAMES } from "@agent-engine/migrations/names.ts";
import { runMigrations as runQueueMigrations } from "bullmq";
import pg from "pg";
import type { Logger } from "pino";
import { QUEUE_SCHEMA } from "../queue/run-queue.ts";

export interface Migrated {
  /** The URL of the serving role, which is neither owner nor superuser. */
  servingUrl: string;
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
    const url = new URL(ownerUrl);
    url.username = encodeURIComponent(roles.app);
    url.password = encodeURIComponent(roles.password);
    return { servingUrl: url.href };
  } finally {
    await owner.end();
  }
}

export interface ServingRoles {
  app: string;
  password: string;
  system: string;
}

async function ensureRoles(owner: pg.Client): Promise<ServingRoles> {
  await owner.query(`
    create table if not exists serving_roles (app text not null, password text not null, system text not null);
    revoke all on serving_roles from public;
  `);
  const known = await owner.query<ServingRoles>("select app, password, system from serving_roles");
  if (known.rows[0]) return known.rows[0];

  const { rows } = await owner.query<{ name: string }>("select current_database() as name");
  const database = (rows[0]?.name ?? "agent_engine").slice(0, 48);
  const roles = { app: `${database}_app`, password: randomBytes(24).toString("hex"), system: `${database}_system` };
  await owner.query("begin");
  await owner.query("select pg_advisory_xact_lock($1)", [ROLES_LOCK]);
  for (const [role, options] of [
    [roles.app, `login nosuperuser nobypassrls nocreatedb nocreaterole noinherit password '${roles.password}'`],
    [roles.system, "nologin nosuperuser nobypassrls nocreatedb nocreaterole"],
  ] as const) {
    const name = owner.escapeIdentifier(role);
    const exists = await owner.query("select 1 from pg_roles where rolname = $1", [role]);
    await owner.query(`${exists.rowCount ? "alter" : "create"} role ${name} ${options}`);
  }
  // The functions that work across tenants are handed to this role, which takes membership of it.
  await owner.query(`grant ${owner.escapeIdentifier(roles.system)} to current_user`);
  await owner.query("insert into serving_roles (app, password, system) values ($1, $2, $3)", [
    roles.app,
    roles.password,
    roles.system,
  ]);
  await owner.query("commit");
  return roles;
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
