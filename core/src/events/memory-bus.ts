import type { ConversationChange } from "@agent-engine/protocol/realtime.ts";
import { changeOf } from "./conversation-change.ts";
import type { ControlMessage, EventBus, PublishedBatch } from "./bus.ts";

/** The bus within one process: `npm start` without Redis. */
export function createMemoryBus(): EventBus {
  const conversations = new Map<string, Set<(batch: PublishedBatch) => void>>();
  const tenants = new Map<string, Set<(change: ConversationChange) => void>>();
  const controls = new Set<(message: ControlMessage) => void>();
  return {
    publish(batch) {
      for (const listener of conversations.get(batch.conversationId) ?? []) listener(batch);
      const followers = tenants.get(batch.tenantId);
      const change = followers && changeOf(batch);
      if (change) for (const listener of followers) listener(change);
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
    followTenant(tenantId, onChange) {
      const followers = tenants.get(tenantId) ?? new Set();
      tenants.set(tenantId, followers.add(onChange));
      return {
        inForce: Promise.resolve(),
        leave() {
          followers.delete(onChange);
          if (followers.size === 0 && tenants.get(tenantId) === followers) tenants.delete(tenantId);
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
      tenants.clear();
      controls.clear();
    },
  };
}
