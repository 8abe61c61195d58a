import type { Logger } from "pino";
import type { Config } from "./config/env.ts";
import type { Services } from "./context.ts";
import { openDatabase } from "./db/database.ts";
import { migrate } from "./db/migrate.ts";
import { createMemoryBus } from "./events/memory-bus.ts";
import { createRedisBus } from "./events/redis-bus.ts";
import { newId } from "./ids.ts";
import { openAccounts, type AccountsConfig } from "./members/accounts.ts";
import { createOutbox } from "./queue/outbox.ts";
import { openRunQueue } from "./queue/run-queue.ts";

export interface OpenServices extends Services {
  close(): Promise<void>;
}

/**
 * Brings the database up to date, then opens everything a process works with. `databaseUrl` is the owner's; what is
 * opened serves with the role that row level security holds.
 */
export async function openServices(
  config: Pick<Config, "redisUrl" | "secretKeys" | "models"> & Partial<AccountsConfig>,
  databaseUrl: string,
  log: Logger,
): Promise<OpenServices> {
  const { servingUrl, accountsUrl } = await migrate(databaseUrl, log);
  const db = openDatabase({ url: servingUrl, log });
  const bus = config.redisUrl === null ? createMemoryBus() : createRedisBus(config.redisUrl, log);
  const queue = openRunQueue(
    config.redisUrl === null ? { kind: "postgres", url: servingUrl } : { kind: "redis", url: config.redisUrl },
    createOutbox(db),
    log,
  );
  const accounts = openAccounts(config, accountsUrl, log);
  return {
    db,
    bus,
    queue,
    log,
    secrets: { keys: config.secretKeys },
    accounts,
    models: config.models,
    clock: Date.now,
    newId,
    async close() {
      await queue.close();
      await bus.close();
      await accounts.close();
      await db.close();
    },
  };
}
