import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { FAIL_FAST, openRedis, WAIT } from "../redis/open-redis.ts";
import type { BusSubscription, ControlMessage, EventBus } from "./bus.ts";
import { changeOf } from "./conversation-change.ts";
import { watchRedisHealth } from "./redis-health.ts";

const CONTROL = "agent-engine:control";
/** How long a start waits for Redis. Without it the API still takes messages, and the control channel follows later. */
const CONTROL_WAIT_MS = 1_000;
const channelOf = (conversationId: string) => `ev:${conversationId}`;
const tenantChannelOf = (tenantId: string) => `ch:${tenantId}`;

interface Followed {
  listeners: Set<(message: never) => void>;
  inForce: PromiseWithResolvers<void>;
  /** Asked for on the connection, which asks again by itself after a break. */
  isAsked: boolean;
}

/**
 * The bus on Redis: sharded Pub/Sub, a channel a conversation, and one a tenant for what its lists show. At most once by
 * nature; hubs repair from Postgres whatever a broken connection swallowed.
 */
export function createRedisBus(url: string, log: Logger): EventBus {
  // The batches of one flush leave in one write.
  const publisher = openRedis(url, log, { ...FAIL_FAST, enableAutoPipelining: true });
  const subscriber = openRedis(url, log, { ...WAIT, autoResubscribe: true });
  const health = watchRedisHealth([publisher, subscriber], log);
  /** By channel. */
  const topics = new Map<string, Followed>();
  const controls = new Set<(message: ControlMessage) => void>();
  const reconnects = new Set<() => void>();
  let hasConnected = false;
  let controlReady: Promise<unknown> | null = null;
  const drop = (error: unknown) => log.debug({ err: error }, "redis command failed");

  subscriber.on("ready", () => {
    // Those that came and went while Redis was away are never asked for.
    for (const [channel, followed] of topics) ask(channel, followed);
    if (hasConnected) for (const listener of reconnects) listener();
    hasConnected = true;
  });
  subscriber.on("smessage", (channel: string, text: string) => {
    const followed = topics.get(channel);
    if (!followed) return;
    const message = JSON.parse(text) as never;
    for (const listener of followed.listeners) listener(message);
  });
  subscriber.on("message", (_channel: string, text: string) => {
    const message = JSON.parse(text) as ControlMessage;
    for (const listener of controls) listener(message);
  });

  function ask(channel: string, followed: Followed): void {
    if (followed.isAsked || subscriber.status !== "ready") return;
    followed.isAsked = true;
    subscriber.ssubscribe(channel).then(
      () => followed.inForce.resolve(),
      (error: unknown) => {
        followed.isAsked = false;
        drop(error);
      },
    );
  }

  function follow(channel: string, listener: (message: never) => void): BusSubscription {
    let followed = topics.get(channel);
    if (!followed) {
      followed = { listeners: new Set(), inForce: Promise.withResolvers(), isAsked: false };
      topics.set(channel, followed);
    }
    followed.listeners.add(listener);
    ask(channel, followed);
    const mine = followed;
    return {
      inForce: mine.inForce.promise,
      leave() {
        mine.listeners.delete(listener);
        if (mine.listeners.size > 0 || topics.get(channel) !== mine) return;
        topics.delete(channel);
        if (mine.isAsked) subscriber.sunsubscribe(channel).catch(drop);
      },
    };
  }

  return {
    publish(batch) {
      publisher.spublish(channelOf(batch.conversationId), JSON.stringify(batch)).catch(drop);
      const change = changeOf(batch);
      if (change) publisher.spublish(tenantChannelOf(batch.tenantId), JSON.stringify(change)).catch(drop);
    },
    subscribe: (conversationId, onBatch) => follow(channelOf(conversationId), onBatch),
    followTenant: (tenantId, onChange) => follow(tenantChannelOf(tenantId), onChange),
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
