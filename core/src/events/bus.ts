import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationChange, Hint } from "@agent-engine/protocol/realtime.ts";

/** Committed events of one conversation, contiguous in seq. */
export interface PublishedBatch {
  conversationId: string;
  tenantId: string;
  events: StoredEnvelope[];
}

/** Process-to-process advice. Losing one is harmless: Postgres has the truth, this only makes it quick. */
export type ControlMessage =
  | { kind: "run.cancelled"; runId: string }
  | { kind: "provider_keys.changed"; tenantId: TenantId }
  | { kind: "spending.changed"; tenantId: TenantId }
  | { kind: "credentials.revoked" }
  | { kind: "hint"; hint: Hint };

export interface BusSubscription {
  /** Resolves once batches arrive, so that a backfill read afterwards overlaps them; while the bus is away it waits. */
  inForce: Promise<void>;
  /** May be called at any time, also before it is in force. */
  leave(): void;
}

/**
 * Carries committed events from whoever appended them to the hubs. At most once: whoever subscribes repairs what is
 * lost from Postgres. Nothing is published before its commit.
 */
export interface EventBus {
  /** Never throws and never waits; a batch that cannot be sent is dropped. */
  publish(batch: PublishedBatch): void;
  subscribe(conversationId: string, onBatch: (batch: PublishedBatch) => void): BusSubscription;
  /**
   * Which of a tenant's conversations change as lists show them, from the batches that are published. Advice: nothing
   * repairs what is lost.
   */
  followTenant(tenantId: string, onChange: (change: ConversationChange) => void): BusSubscription;
  /** Called when batches may have been lost; every subscription stays in force. */
  onReconnect(listener: () => void): () => void;
  readonly control: {
    publish(message: ControlMessage): void;
    /** Resolves when it is in force, or soon: a process starts without the bus, too. */
    subscribe(onMessage: (message: ControlMessage) => void): Promise<() => void>;
  };
  /** False while batches do not arrive: whoever reads must ask Postgres. A break of a moment is not told. */
  isHealthy(): boolean;
  /** Called with each change of `isHealthy`, within 5 s of its cause. */
  onHealth(listener: (isHealthy: boolean) => void): () => void;
  close(): Promise<void>;
}
