import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { FAIL_FAST, openRedis, WAIT } from "../redis/open-redis.ts";
import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";
import { watchRedisHealth } from "./redis-health.ts";

const CONTROL = "agent-engine:control";
/** How long a start waits for Redis. Without it the API still takes messages, and the control channel follows later. */
const CONTROL_WAIT_MS = 1_000;
const channelOf = (conversationId: string) => `ev:${conversationId}`;

interface Followed {
  listeners: Set<(batch: PublishedBatch) => void>;
  inForce: PromiseWithResolvers<void>;
  /** Asked for on the connection, which asks again by itself after a break. */
  isAsked: boolean;
}

/**
 * The bus on Redis: sharded Pub/Sub, a channel a conversation. At most once by nature; hubs repair from Postgres
 * whatever a broken connection swallowed.
 */
export function createRedisBus(url: string, log: Logger): EventBus {
  // The batches of one flush leave in one write.
  const publisher = openRedis(url, log, { ...FAIL_FAST, enableAutoPipelining: true });
  const subscriber = openRedis(url, log, { ...WAIT, autoResubscribe: true });
  const health = watchRedisHealth([publisher, subscriber], log);
  const conversations = new Map<string, Followed>();
  const controls = new Set<(message: ControlMessage) => void>();
  const reconnects = new Set<() => void>();
  let hasConnected = false;
  let controlReady: Promise<unknown> | null = null;
  const drop = (error: unknown) => log.debug({ err: error }, "redis command failed");

  subscriber.on("ready", () => {
    // Those that came and went while Redis was away are never asked for.
    for (const [conversationId, followed] of conversations) ask(conversationId, followed);
    if (hasConnected) for (const listener of reconnects) listener();
    hasConnected = true;
  });
  subscriber.on("smessage", (channel: string, text: string) => {
    const followed = conversations.get(channel.slice("ev:".length));
    if (!followed) return;
    const batch = JSON.parse(text) as PublishedBatch;
    for (const listener of followed.listeners) listener(batch);
  });
  subscriber.on("message", (_channel: string, text: string) => {
    const message = JSON.parse(text) as ControlMessage;
    for (const listener of controls) listener(message);
  });

  function ask(conversationId: string, followed: Followed): void {
    if (followed.isAsked || subscriber.status !== "ready") return;
    followed.isAsked = true;
    subscriber.ssubscribe(channelOf(conversationId)).then(
      () => followed.inForce.resolve(),
      (error: unknown) => {
        followed.isAsked = false;
        drop(error);
      },
    );
  }

  return {
    publish(batch) {
      publisher.spublish(channelOf(batch.conversationId), JSON.stringify(batch)).catch(drop);
    },
    subscribe(conversationId, onBatch) {
      let followed = conversations.get(conversationId);
      if (!followed) {
        followed = { listeners: new Set(), inForce: Promise.withResolvers(), isAsked: false };
        conversations.set(conversationId, followed);
      }
      followed.listeners.add(onBatch);
      ask(conversationId, followed);
      const mine = followed;
      return {
        inForce: mine.inForce.promise,
        leave() {
          mine.listeners.delete(onBatch);
          if (mine.listeners.size > 0 || conversations.get(conversationId) !== mine) return;
          conversations.delete(conversationId);
          if (mine.isAsked) subscriber.sunsubscribe(channelOf(conversationId)).catch(drop);
        },
      };
    },
    onReconnect(listener) {
      reconnects.add(listener);
      return () => reconnects.delete(listener);
    },
    control: {
      publish(message) {
        publisher.publish(CONTROL, JSON.stringify(message)).catch(drop);
      },
      async subscribe(onMessage) {
        controls.add(onMessage);
        controlReady ??= subscriber.subscribe(CONTROL).catch(drop);
        await Promise.race([controlReady, delay(CONTROL_WAIT_MS, undefined, { ref: false })]);
        return () => controls.delete(onMessage);
      },
    },
    isHealthy: health.isHealthy,
    onHealth: health.onHealth,
    async close() {
      health.close();
    },
  };
}
