import { MikroORM } from "@mikro-orm/postgresql";
import type { Logger } from "pino";
import { TIMEOUT_OPTIONS } from "./database.ts";
import { entities } from "./entities/entities.ts";

const POOL_SIZE = 4;

/** The ORM on a small pool of its own, as the serving role. */
export function openOrm(url: string, log: Logger): MikroORM {
  return new MikroORM({
    clientUrl: url,
    entities,
    pool: { min: 0, max: POOL_SIZE, idleTimeoutMillis: 60_000 },
    driverOptions: { options: TIMEOUT_OPTIONS },
    forceUtcTimezone: true,
    debug: false,
    logger: (message) => log.debug({ orm: message }, "orm"),
  });
}
