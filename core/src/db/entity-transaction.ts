/** Transactions through the ORM, for the verbs that work with entities. Kept apart so that workers load no ORM. */
import type { EntityManager } from "@mikro-orm/postgresql";
import { CompiledQuery } from "kysely";
import type { QueryResultRow } from "pg";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { uuidOf } from "../ids.ts";
import type { Database } from "./database.ts";
import { asPostgresError } from "./postgres-unavailable.ts";
import type { Statement } from "./statement.ts";
import type { Tx } from "./transaction.ts";

/** Runs `fn` in the context's ORM transaction, or in a new one. */
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
  const orm = await db.orm();
  const fork = orm.em.fork({ session: { variables: { "app.tenant_id": uuidOf(tenantId) } } });
  const done = fork.transactional(async (em) => {
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
  const result = await done.catch((error: unknown) => {
    throw asPostgresError(error);
  });
  for (const hook of hooks) hook();
  return result;
}
