import type { MikroORM } from "@mikro-orm/postgresql";
import pg from "pg";
import type { Logger } from "pino";
import type { Statement } from "./statement.ts";

/** The serving role's way into Postgres: one pool for the hot path's prepared statements, one ORM for the rest. */
export interface Database {
  pool: pg.Pool;
  /** Opened at its first use: a worker never needs it, and it is the largest thing a process loads. */
  orm(): Promise<MikroORM>;
  /** Runs one prepared statement outside a transaction and without a tenant: for functions that carry their own. */
  query<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]): Promise<Row[]>;
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
 */
const SESSION_OPTIONS = "-c plan_cache_mode=force_generic_plan -c jit=off";

/** Opens the pools; the first query connects. */
export function openDatabase({ url, poolSize = 12, log }: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolSize,
    connectionTimeoutMillis: 5_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: "agent-engine",
    options: SESSION_OPTIONS,
  });
  // A connection the server drops is reported here; without a listener it would end the process.
  pool.on("error", (error) => log.warn({ err: error }, "postgres connection lost"));
  pool.on("connect", (client) => client.on("error", (error) => log.debug({ err: error }, "postgres client error")));
  let orm: Promise<MikroORM> | null = null;
  return {
    pool,
    orm: () => (orm ??= import("./orm.ts").then(({ openOrm }) => openOrm(url, log))),
    async query<Row extends pg.QueryResultRow>(statement: Statement<Row>, values: unknown[]) {
      return (await pool.query<Row>({ ...statement, values })).rows;
    },
    async close() {
      await Promise.allSettled([orm?.then((opened) => opened.close(true)), pool.end()]);
    },
  };
}
