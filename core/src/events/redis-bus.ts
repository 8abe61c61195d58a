import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";

const CONTROL = "agent-engine:control";
/** How long a start waits for Redis. Without it the API still takes messages, and the control channel follows later. */
const CONTROL_WAIT_MS = 1_000;
const channelOf = (conversationId: string) => `ev:${conversationId}`;

/**
 * The bus on Redis: sharded Pub/Sub, a channel a conversation. At most once by nature; hubs repair from Postgres
 * whatever a broken connection swallowed.
 */
export function createRedisBus(url: string, log: Logger): EventBus {
  const options = { retryStrategy: (attempt: number) => Math.min(attempt * 100, 1_000) };
  const publisher = new Redis(url, {
    ...options,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 1_000,
    // The batches of one flush leave in one write.
    enableAutoPipelining: true,
  });
  const subscriber = new Redis(url, { ...options, maxRetriesPerRequest: null, autoResubscribe: true });
  const conversations = new Map<string, { listeners: Set<(batch: PublishedBatch) => void>; ready: Promise<void> }>();
  const controls = new Set<(message: ControlMessage) => void>();
  const reconnects = new Set<() => void>();
  let hasConnected = false;
  let controlReady: Promise<unknown> | null = null;

  let isMissed = false;
  publisher.on("error", (error: Error) => {
    // Each try reports one: the first is news.
    log[isMissed ? "debug" : "warn"]({ err: error }, "Redis does not answer; trying again until it does");
    isMissed = true;
  });
  publisher.on("ready", () => {
    if (isMissed) log.info("Redis answers again");
    isMissed = false;
  });
  subscriber.on("error", (error: Error) => log.debug({ err: error }, "redis connection error"));
  subscriber.on("ready", () => {
    if (hasConnected) for (const listener of reconnects) listener();
    hasConnected = true;
  });
  subscriber.on("smessage", (channel: string, text: string) => {
    const entry = conversations.get(channel.slice("ev:".length));
    if (!entry) return;
    const batch = JSON.parse(text) as PublishedBatch;
    for (const listener of entry.listeners) listener(batch);
  });
  subscriber.on("message", (_channel: string, text: string) => {
    const message = JSON.parse(text) as ControlMessage;
    for (const listener of controls) listener(message);
  });

  const drop = (error: unknown) => log.debug({ err: error }, "not published");

  return {
    publish(batch) {
      publisher.spublish(channelOf(batch.conversationId), JSON.stringify(batch)).catch(drop);
    },
    async subscribe(conversationId, onBatch) {
      let entry = conversations.get(conversationId);
      if (!entry) {
        entry = { listeners: new Set(), ready: subscriber.ssubscribe(channelOf(conversationId)).then(() => {}) };
        conversations.set(conversationId, entry);
      }
      entry.listeners.add(onBatch);
      const mine = entry;
      const leave = () => {
        mine.listeners.delete(onBatch);
        if (mine.listeners.size > 0 || conversations.get(conversationId) !== mine) return;
        conversations.delete(conversationId);
        subscriber.sunsubscribe(channelOf(conversationId)).catch(drop);
      };
      try {
        await mine.ready;
      } catch (error) {
        leave();
        throw error;
      }
      return leave;
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
    isHealthy: () => publisher.status === "ready" && subscriber.status === "ready",
    async close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}
