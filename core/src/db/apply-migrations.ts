import { MikroORM } from "@mikro-orm/postgresql";
import { Migrator } from "@mikro-orm/migrations";
import { migrations } from "@agent-engine/migrations/migrations.ts";
import type { Logger } from "pino";
import type { ServingRoles } from "./migrate.ts";

/** Applies what is missing, each migration in one transaction. The caller holds the migration lock. */
export async function applyMigrations(ownerUrl: string, roles: ServingRoles, log: Logger): Promise<void> {
  const orm = new MikroORM({
    clientUrl: ownerUrl,
    entities: [],
    discovery: { warnWhenNoEntities: false },
    extensions: [Migrator],
    pool: { min: 0, max: 1 },
    driverOptions: {
      options: `-c engine.app_role=${escaped(roles.app)} -c engine.system_role=${escaped(roles.system)} -c engine.accounts_role=${escaped(roles.accounts)}`,
    },
    migrations: {
      migrationsList: migrations,
      tableName: "schema_migrations",
      snapshot: false,
      transactional: true,
      allOrNothing: true,
      silent: true,
    },
    logger: (message) => log.debug({ orm: message }, "orm"),
  });
  try {
    const applied = await orm.migrator.up();
    for (const migration of applied) log.info({ migration: migration.name }, "migration applied");
  } finally {
    await orm.close(true);
  }
}

/** A role is named after its database, whose name may hold spaces; among server options a space ends a value. */
function escaped(value: string): string {
  return value.replaceAll(/[\\\s]/g, String.raw`\$&`);
}
