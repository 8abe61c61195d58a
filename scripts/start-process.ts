/**
 * `npm start`: everything the role needs, in one process. See docs/configuration.md for the variables.
 *
 *   configuration → data folder → ports → secret key → database → widget files → serve
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ConfigError, loadConfig, type Config } from "@agent-engine/core/config/env.ts";
import { removeEmbeddedPostgres, startEmbeddedPostgres } from "@agent-engine/core/dev/embedded-postgres.ts";
import { createLogger } from "@agent-engine/core/log.ts";
import { announce } from "./announce.ts";
import { buildWidget } from "./build-widget.ts";
import { checkDatabase } from "./check-database.ts";
import { checkPort } from "./check-port.ts";
import { checkRedis } from "./check-redis.ts";
import { collectWhenQuiet } from "./collect-when-quiet.ts";
import { keptSecretKey, prepareDataFolder, takeDataFolder, writeDevFile } from "./data-folder.ts";
import { keepMarkingAlive } from "./liveness.ts";
import { isForMachines, startLogger } from "./logger.ts";
import { serve } from "./serve.ts";
import { Shutdown } from "./shutdown.ts";
import { StartFailure, systemCode } from "./start-failure.ts";

function speaker(config: Config): (message: string) => void {
  if (!isForMachines(config)) return (message) => process.stdout.write(`${message}\n`);
  const log = createLogger(config);
  return (message) => log.info(message);
}

async function resetData(config: Config): Promise<void> {
  if (config.databaseUrl !== null) {
    throw new StartFailure(
      "--reset starts over with the embedded database only. Empty the one at DATABASE_URL yourself.",
    );
  }
  await removeEmbeddedPostgres(join(config.dataDir, "postgres"));
  for (const name of ["secret-key", "dev.json", "log.jsonl"]) rmSync(join(config.dataDir, name), { force: true });
}

async function openDatabase(config: Config, shutdown: Shutdown, say: (message: string) => void): Promise<string> {
  if (config.databaseUrl !== null) {
    await checkDatabase(config.databaseUrl);
    return config.databaseUrl;
  }
  const dir = join(config.dataDir, "postgres");
  const postgres = await startEmbeddedPostgres({ dir, durable: true, detached: true, say });
  shutdown.add({ name: "The embedded database", limitMs: 1_800, stop: postgres.stop });
  return postgres.ownerUrl;
}

async function start(
  config: Config,
  reset: boolean,
  shutdown: Shutdown,
  say: (message: string) => void,
): Promise<void> {
  if (config.nodeEnv !== "production") prepareDataFolder(config.dataDir);
  if (config.databaseUrl === null) {
    const giveBack = takeDataFolder(config.dataDir);
    shutdown.add({ name: "The data folder", limitMs: 100, stop: giveBack });
  }
  if (reset) await resetData(config);
  if (config.role !== "worker") {
    await checkPort("PORT", config.port);
    if (config.nodeEnv !== "production" && config.role === "all") await checkPort("DEMO_PORT", config.demoPort);
  }
  const secretKeys = config.secretKeys.length > 0 ? config.secretKeys : [keptSecretKey(config.dataDir)];
  // In production an outage of Redis must not keep a process from starting: it goes on when Redis is back.
  if (config.redisUrl !== null && config.nodeEnv !== "production") await checkRedis(config.redisUrl);
  const databaseUrl = await openDatabase(config, shutdown, say);
  if (shutdown.begun) return;
  if (config.role !== "worker") {
    await buildWidget(config.nodeEnv === "production" ? "when missing" : "when changed", say);
  }
  if (shutdown.begun) return;
  const { log, file } = startLogger(config);
  const served = await serve({ ...config, secretKeys, databaseUrl }, { log });
  const stop = async () => {
    await served.stop();
    // A pool reports its last sockets only when the database ends, which is no longer news.
    log.level = "silent";
  };
  shutdown.add({ name: "Agent Engine", limitMs: 2_800, stop });
  if (config.nodeEnv === "production" && config.role === "worker") keepMarkingAlive(config.role);
  if (config.role === "worker") {
    const { startWatchdog } = await import("@agent-engine/worker/watchdog/watchdog.ts");
    startWatchdog({ stuckSeconds: config.workerStuckSeconds });
  }
  if (shutdown.begun) return;
  const devFile =
    served.demo !== null && served.apiUrl !== null
      ? writeDevFile(config.dataDir, { ...served.demo, apiUrl: served.apiUrl, demoUrl: served.demoUrl })
      : null;
  collectWhenQuiet();
  announce({ config, served, devFile, logFile: file, seconds: process.uptime() }, say);
}

function main(): void {
  const { values } = parseArgs({ options: { reset: { type: "boolean", default: false } } });
  const config = loadConfig();
  const say = speaker(config);
  const shutdown = new Shutdown(say);
  if (!isForMachines(config)) say("Starting Agent Engine …");
  const starting = start(config, values.reset, shutdown, say);
  shutdown.listen(starting);
  starting.catch((error: unknown) => {
    const expected = error instanceof StartFailure || (error instanceof Error && systemCode(error.cause) !== null);
    console.error(expected ? error.message : error);
    void shutdown.run(1, Promise.resolve());
  });
}

try {
  main();
} catch (error) {
  if (error instanceof ConfigError) console.error(`The configuration has mistakes:\n  ${error.problems.join("\n  ")}`);
  else console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
