/**
 * Every connection to Redis. A Redis that is frozen, or a line that swallows everything, reports no error: each connection
 * asks for a sign of life once a second, and one that stays silent is given up and made anew. So its status is the truth,
 * at most three seconds late: `ready` means that Redis answers.
 */
import { Redis, type RedisOptions } from "ioredis";
import type { Logger } from "pino";

const PING_MS = 1_000;
/** How long an answer may take, the handshake's included. */
const SILENCE_MS = 2_000;
const MAX_RETRY_MS = 1_000;

/** For what fails fast: nobody waits for a Redis that does not answer. */
export const FAIL_FAST = {
  enableOfflineQueue: false,
  maxRetriesPerRequest: 1,
  commandTimeout: 1_000,
} as const satisfies RedisOptions;

/** For what waits until Redis is back, for as long as it takes. */
export const WAIT = { maxRetriesPerRequest: null } as const satisfies RedisOptions;

/**
 * Opens a connection that comes back by itself, until it is disconnected. `socketTimeout` is its longest silence; only
 * one that carries blocking commands needs more than the default.
 */
export function openRedis(url: string, log: Logger, options: RedisOptions): Redis {
  const client = new Redis(url, {
    connectTimeout: SILENCE_MS,
    socketTimeout: SILENCE_MS,
    retryStrategy: (attempt) => Math.min(attempt * 100, MAX_RETRY_MS),
    ...options,
  });
  // Each try reports an error; that Redis is away is said once, by the bus.
  client.on("error", (error: Error) => log.debug({ err: error }, "redis connection error"));
  const drop = (error: unknown) => log.debug({ err: error }, "redis ping failed");
  const timer = setInterval(() => {
    if (client.status === "ready") client.ping().catch(drop);
  }, PING_MS);
  timer.unref();
  client.on("end", () => clearInterval(timer));
  return client;
}
