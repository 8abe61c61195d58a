import { ConfigError, loadConfig } from "@agent-engine/core/config/env.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { createLogger } from "@agent-engine/core/log.ts";
import { openServices } from "@agent-engine/core/services.ts";
import { pino } from "pino";
import { checkDatabase } from "./check-database.ts";
import { keptSecretKey } from "./data-folder.ts";
import { StartFailure } from "./start-failure.ts";

/**
 * Runs a command on the database of `DATABASE_URL`, beside whatever else uses it, and ends with 1 when it fails or
 * answers false. What it prints is its result; warnings go to the standard error.
 */
export async function runOnDatabase(command: (services: Services) => Promise<boolean>): Promise<void> {
  try {
    const config = loadConfig();
    if (config.databaseUrl === null) {
      throw new StartFailure("Set DATABASE_URL. The embedded database of `npm start` belongs to that process alone.");
    }
    await checkDatabase(config.databaseUrl);
    const secretKeys = config.secretKeys.length > 0 ? config.secretKeys : [keptSecretKey(config.dataDir)];
    const log = createLogger({ ...config, logLevel: "warn" }, pino.destination(2));
    const services = await openServices({ ...config, secretKeys }, config.databaseUrl, log);
    try {
      if (!(await command(services))) process.exitCode = 1;
    } finally {
      await services.close();
    }
  } catch (error) {
    if (error instanceof ConfigError)
      console.error(`The configuration has mistakes:\n  ${error.problems.join("\n  ")}`);
    else console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
