import { createShardedAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import type { Logger } from "pino";

export interface RedisAdapter {
  adapter: ReturnType<typeof createShardedAdapter>;
  /** Rejects when Redis does not answer. */
  ping(): Promise<void>;
  close(): void;
}

/**
 * Socket.IO's adapter on sharded Pub/Sub: carries what is the sockets' own (typing, revocation) between servers. It has
 * clients of its own that wait for Redis to come back: the adapter does not handle a command that fails.
 */
export function createRedisAdapter(url: string, log: Logger): RedisAdapter {
  const options = { maxRetriesPerRequest: null, retryStrategy: (attempt: number) => Math.min(attempt * 100, 1_000) };
  const publisher = new Redis(url, options);
  const subscriber = new Redis(url, options);
  for (const client of [publisher, subscriber]) {
    client.on("error", (error: Error) => log.debug({ err: error }, "redis connection error"));
  }
  return {
    adapter: createShardedAdapter(publisher, subscriber),
    async ping() {
      if (publisher.status !== "ready" || subscriber.status !== "ready") throw new Error("redis is not connected");
      await publisher.ping();
    },
    close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}
