import { MikroORM } from "@mikro-orm/postgresql";
import type pg from "pg";
import type { Logger } from "pino";
import { entities } from "./entities/entities.ts";
import { CONNECT_TIMEOUT_MS, QUERY_TIMEOUT_MS, TIMEOUT_OPTIONS } from "./limits.ts";
import type { PostgresHealth } from "./postgres-health.ts";
import { releaseBroken } from "./release-broken.ts";

const POOL_SIZE = 4;

/** The ORM on a small pool of its own, as the serving role. */
export function openOrm(url: string, log: Logger, health: PostgresHealth): MikroORM {
  return new MikroORM({
    clientUrl: url,
    entities,
    pool: { min: 0, max: POOL_SIZE, idleTimeoutMillis: 60_000 },
    driverOptions: {
      options: TIMEOUT_OPTIONS,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      onPoolCreated: (pool: pg.Pool) => {
        health.watch(pool);
        releaseBroken(pool);
      },
    },
    forceUtcTimezone: true,
    debug: false,
    logger: (message) => log.debug({ orm: message }, "orm"),
  });
}
