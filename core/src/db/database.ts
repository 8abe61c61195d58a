import type { MikroORM } from "@mikro-orm/postgresql";
import pg from "pg";
import type { Logger } from "pino";
import { CONNECT_TIMEOUT_MS, QUERY_TIMEOUT_MS, TIMEOUT_OPTIONS } from "./limits.ts";
import { watchPostgres } from "./postgres-health.ts";
import { asPostgresError } from "./postgres-unavailable.ts";
import type { Statement } from "./statement.ts";

/** The serving role's way into Postgres: one pool for the hot path's prepared statements, one ORM for the rest. */
export interface Database {
  /** The serving role's, for another process of ours. */
  readonly url: string;
  pool: pg.Pool;
  /** A connection of the pool, for a transaction. Fails at once while Postgres is away. */
  connect(): Promise<pg.PoolClient>;
  /** Opened at its first use: a worker never needs it, and it is the largest thing a process loads. */
  orm(): Promise<MikroORM>;
  /** Runs one prepared statement outside a transaction and without a tenant: for functions that carry their own. */
  query<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]): Promise<Row[]>;
  /** The same on a connection that nothing else uses: a heartbeat must not queue behind the work it stands for. */
  queryApart<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

export interface DatabaseOptions {
  /** The serving role's URL, as `migrate` answers it. */
  url: string;
  poolSize?: number;
  log: Logger;
}

/**
 * The hot path's statements and functions are short and always planned the same way. Left to itself Postgres plans
 * them anew each time, row level security included, which takes longer than running them.
 * Each finds its rows by a key; a plan made while a table was small must not go on reading all of it when it has grown.
 */
const PLAN_OPTIONS = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off";

/** For what is worth nothing when it comes late. */
const APART_TIMEOUT_MS = 2_000;

/** Opens the pools; the first query connects. */
export function openDatabase({ url, poolSize = 12, log }: DatabaseOptions): Database {
  const open = (options: pg.PoolConfig) => {
    const pool = new pg.Pool({
      connectionString: url,
      idleTimeoutMillis: 60_000,
      keepAlive: true,
      application_name: "agent-engine",
      options: `${PLAN_OPTIONS} ${TIMEOUT_OPTIONS}`,
      ...options,
    });
    return pool;
  };
  const pool = open({ max: poolSize, connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS });
  const apart = open({ max: 2, connectionTimeoutMillis: APART_TIMEOUT_MS, query_timeout: APART_TIMEOUT_MS });
  const health = watchPostgres(() => apart.query("select 1"), log);
  health.watch(pool);
  health.watch(apart);
  let orm: Promise<MikroORM> | null = null;
  return {
    url,
    pool,
    async connect() {
      health.assertAnswers();
      return pool.connect().catch(rethrow);
    },
    async orm() {
      health.assertAnswers();
      return (orm ??= import("./orm.ts").then(({ openOrm }) => openOrm(url, log, health)));
    },
    async query<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]) {
      health.assertAnswers();
      return (await pool.query<Row>({ ...statement, values }).catch(rethrow)).rows;
    },
    async queryApart<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]) {
      return (await apart.query<Row>({ ...statement, values }).catch(rethrow)).rows;
    },
    async close() {
      health.close();
      await Promise.allSettled([orm?.then((opened) => opened.close(true)), pool.end(), apart.end()]);
    },
  };
}

function rethrow(error: unknown): never {
  throw asPostgresError(error);
}
