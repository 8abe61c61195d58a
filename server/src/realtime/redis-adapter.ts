import { createShardedAdapter } from "@socket.io/redis-adapter";
import { openRedis, WAIT } from "@agent-engine/core/redis/open-redis.ts";
import type { Redis } from "ioredis";
import type { Logger } from "pino";

export interface RedisAdapter {
  adapter: ReturnType<typeof createShardedAdapter>;
  /** Rejects when Redis does not answer. */
  ping(): Promise<void>;
  close(): void;
}

/**
 * Socket.IO's adapter on sharded Pub/Sub: carries what is the sockets' own (typing, revocation) between servers. It has
 * clients of its own, which wait for Redis to come back and subscribe again by themselves.
 */
export function createRedisAdapter(url: string, log: Logger): RedisAdapter {
  const publisher = openRedis(url, log, WAIT);
  const subscriber = openRedis(url, log, WAIT);
  return {
    adapter: createShardedAdapter(withoutRejections(publisher, log), withoutRejections(subscriber, log)),
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

/** The adapter lets its commands' promises fall: one that fails while Redis is away would end the process. */
function withoutRejections(client: Redis, log: Logger) {
  const drop = (error: unknown) => log.debug({ err: error }, "redis command failed");
  return {
    on: client.on.bind(client),
    ssubscribe: (channel: string) => client.ssubscribe(channel).catch(drop),
    sunsubscribe: (channel: string) => client.sunsubscribe(channel).catch(drop),
    spublish: (channel: string, message: string | Buffer) => client.spublish(channel, message).catch(drop),
    send_command: client.call.bind(client),
  };
}
