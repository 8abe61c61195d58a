import type { AgentId, TenantId } from "@agent-engine/protocol/ids.ts";

/** What `serve` answers once everything of its role is running. */
export interface Served {
  /** Null in a process that serves no HTTP (ROLE=worker). */
  apiUrl: string | null;
  demoUrl: string | null;
  /** The seeded tenant; null in production and in a database that was not seeded by this product. */
  demo: DemoTenant | null;
  /** Stops taking work, hands over or finishes what is in flight, closes every connection. Idempotent. */
  stop(): Promise<void>;
}

export interface DemoTenant {
  tenantId: TenantId;
  agentId: AgentId;
  publishableKey: string;
  secretKey: string;
  /** Who signs in to the console; absent when it is not known. */
  adminEmail?: string;
  adminPassword?: string;
}
