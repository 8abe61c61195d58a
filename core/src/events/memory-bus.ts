import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";

/** The bus within one process: `npm start` without Redis. */
export function createMemoryBus(): EventBus {
  const conversations = new Map<string, Set<(batch: PublishedBatch) => void>>();
  const controls = new Set<(message: ControlMessage) => void>();
  return {
    publish(batch) {
      for (const listener of conversations.get(batch.conversationId) ?? []) listener(batch);
    },
    subscribe(conversationId, onBatch) {
      const listeners = conversations.get(conversationId) ?? new Set();
      conversations.set(conversationId, listeners.add(onBatch));
      return {
        inForce: Promise.resolve(),
        leave() {
          listeners.delete(onBatch);
          if (listeners.size === 0 && conversations.get(conversationId) === listeners)
            conversations.delete(conversationId);
        },
      };
    },
    onReconnect: () => () => {},
    control: {
      publish(message) {
        for (const listener of controls) listener(message);
      },
      async subscribe(onMessage) {
        controls.add(onMessage);
        return () => controls.delete(onMessage);
      },
    },
    isHealthy: () => true,
    onHealth: () => () => {},
    async close() {
      conversations.clear();
      controls.clear();
    },
  };
}
