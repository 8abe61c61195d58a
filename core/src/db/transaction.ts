import type { QueryResultRow } from "pg";
import type { EntityManager } from "@mikro-orm/postgresql";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { uuidOf } from "../ids.ts";
import { CompiledQuery } from "kysely";
import type { Database } from "./database.ts";
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
  const client = await db.pool.connect();
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
    await client.query("commit");
  } catch (error) {
    const broken = await client.query("rollback").then(
      () => false,
      () => true,
    );
    client.release(broken);
    throw error;
  }
  client.release();
  for (const hook of hooks) hook();
  return result;
}

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

/** The same through the ORM: for the verbs that work with entities. */
export async function transactEntities<T>(ctx: Ctx, fn: (em: EntityManager, tx: Tx) => Promise<T>): Promise<T> {
  if (ctx.tx?.em) return fn(ctx.tx.em, ctx.tx);
  if (ctx.tx) throw new Error("an entity verb cannot join a transaction without an entity manager");
  return inTenantEntities(ctx.services.db, ctx.tenantId, (tx) => fn(tx.em, tx));
}

/** Opens an ORM transaction with the tenant set; `tx.query` runs in the same transaction. */
export async function inTenantEntities<T>(
  db: Database,
  tenantId: TenantId,
  fn: (tx: Tx & { em: EntityManager }) => Promise<T>,
): Promise<T> {
  const hooks: (() => void)[] = [];
  const fork = db.orm.em.fork({ session: { variables: { "app.tenant_id": uuidOf(tenantId) } } });
  const result = await fork.transactional(async (em) => {
    const transaction = em.getTransactionContext();
    return fn({
      async query<Row extends QueryResultRow>(statement: Statement<Row>, values: unknown[]) {
        await em.flush();
        const answer = await transaction.executeQuery(CompiledQuery.raw(statement.text, values));
        return answer.rows as Row[];
      },
      afterCommit: (hook) => void hooks.push(hook),
      em,
    });
  });
  for (const hook of hooks) hook();
  return result;
}
