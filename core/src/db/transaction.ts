import type { PoolClient, QueryResultRow } from "pg";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { uuidOf } from "../ids.ts";
import type { Database } from "./database.ts";
import { asPostgresError, isPostgresUnavailable } from "./postgres-unavailable.ts";
import type { Statement } from "./statement.ts";

/** A transaction in a tenant's name: row level security shows it that tenant's rows and no others. */
export interface Tx {
  query<Row extends QueryResultRow>(statement: Statement<Row>, values: unknown[]): Promise<Row[]>;
  /** Runs once the commit has succeeded; never after a rollback. Must not throw. */
  afterCommit(hook: () => void): void;
  /** The entity manager of this transaction: everything it flushes is part of it. */
  em?: EntityManager;
}

/** Runs `fn` in the context's transaction, or in a new one on the hot path's pool. */
export async function transact<T>(ctx: Ctx, fn: (tx: Tx) => Promise<T>): Promise<T> {
  if (ctx.tx) return fn(ctx.tx);
  return inTenant(ctx.services.db, ctx.tenantId, fn);
}

/** Opens a transaction with the tenant set, commits, then runs the hooks. */
export async function inTenant<T>(db: Database, tenantId: TenantId, fn: (tx: Tx) => Promise<T>): Promise<T> {
  const hooks: (() => void)[] = [];
  const client = await db.connect();
  let result: T;
  try {
    // One round trip; the id was parsed, so it is hex digits and nothing else.
    await client.query(`begin; set local app.tenant_id = '${uuidOf(tenantId)}'`);
    result = await fn({
      async query<Row extends QueryResultRow>(statement: Statement<Row>, values: unknown[]) {
        return (await client.query<Row>({ ...statement, values })).rows;
      },
      afterCommit: (hook) => void hooks.push(hook),
    });
    const { command } = await client.query("commit");
    if (command !== "COMMIT") throw new Error("nothing was committed: a statement had failed, and nobody minded");
  } catch (error) {
    const isBroken = isPostgresUnavailable(error) || (await cannotRollBack(client));
    // The server rolls back what a connection leaves behind.
    client.release(isBroken);
    throw asPostgresError(error);
  }
  client.release();
  for (const hook of hooks) hook();
  return result;
}

const cannotRollBack = (client: PoolClient): Promise<boolean> =>
  client.query("rollback").then(
    () => false,
    () => true,
  );

/**
 * A transaction of exactly one statement, which sets the tenant itself: one round trip instead of three. The hooks
 * run once it has answered.
 */
export async function atOnce<T>(db: Database, fn: (tx: Tx) => Promise<T>): Promise<T> {
  const hooks: (() => void)[] = [];
  let asked = false;
  const result = await fn({
    query(statement, values) {
      if (asked) throw new Error("atOnce runs one statement");
      asked = true;
      return db.query(statement, values);
    },
    afterCommit: (hook) => void hooks.push(hook),
  });
  for (const hook of hooks) hook();
  return result;
}
