/** Toolkits that tenants install, their tools, and the accounts connected for them, as the API shows them. */

export type ToolkitKindName = "http" | "openapi" | "mcp" | "composio";
export type ToolEffect = "read" | "idempotent" | "write";
export type ConnectionNeed = "none" | "tenant" | "visitor";

export interface InstalledToolkit {
  id: string;
  kind: ToolkitKindName;
  /** Namespace of its tools' names. */
  name: string;
  /** As people read it. */
  title: string;
  /** Counts up with each change of its settings or its tools. Publishing an agent pins the latest. */
  revision: number;
  /** Secrets are masked. */
  settings: Record<string, unknown>;
  toolCount: number;
  /** What was left out or repaired, and why. */
  problems: string[];
  /** When the other side said that its tools are others than these; null once it was asked anew. */
  toolsChangedAt: string | null;
  createdAt: string;
  updatedAt: string;
}

export interface Tool {
  id: string;
  toolkitId: string;
  /** As models call it. */
  name: string;
  /** The other side's name for it. */
  remote: string;
  description: string;
  parameters: Record<string, unknown>;
  effect: ToolEffect;
  /** Whose account it needs. */
  connection: ConnectionNeed;
  scopes: string[];
  visibility: { arguments: boolean; results: boolean };
}

/** What became of trying a tool. */
export interface ToolTest {
  ok: boolean;
  /** What a model would be given; null when there was no definite answer. */
  content: string | null;
  /** Set when it failed: what it means, and what to do. */
  failure: { code: string; detail: string; advice: string; requestId: string | null } | null;
  durationMs: number;
}

/** How far back calls count. */
export type HealthWindow = "15m" | "1h" | "24h";

/** How well a toolkit has been for one tenant, as the calls of its runs tell. Times are ISO 8601 UTC. */
export interface ToolkitHealth {
  /** Null: it is not installed, but built in, part of an agent, or removed. */
  toolkitId: string | null;
  kind: ToolkitKindName | null;
  name: string;
  title: string;
  /** From when calls count: later than the window begins where there are more calls than are counted. */
  since: string;
  until: string;
  /** Calls that were made, however often each was tried. */
  calls: number;
  succeeded: number;
  /** Calls whose last attempt failed. */
  failed: number;
  underWay: number;
  /** 0 to 1, of those that succeeded or failed; null when none did. */
  successRate: number | null;
  /** Failed attempts by code. */
  failures: Record<string, number>;
  /** Of calls that were answered. */
  latencyMs: { p50: number | null; p95: number | null };
  /** What the other side last said of it within a day; null when nothing. `until`: as `by` says, null when it did not. */
  rateLimit: { isLimited: boolean; until: string | null; by: "retry-after" | null; saidAt: string } | null;
  /** Of attempts that failed within a day. */
  lastFailure: {
    at: string;
    tool: string;
    code: string;
    /** What the other side said. */
    detail: string;
    advice: string;
    requestId: string | null;
  } | null;
  /** Open ones. `workers`: how many do not call this host. */
  circuits: { host: string; since: string; retryAt: string; failures: number; code: string; workers: number }[];
  /** How many accounts are connected for it; null when it is not installed. */
  connections: Record<ConnectionStatus, number> | null;
}

export type ConnectionStatus = "initiated" | "active" | "expired" | "failed" | "revoked";

export interface Connection {
  id: string;
  toolkitId: string;
  /** Null: the tenant's own. */
  visitorId: string | null;
  label: string | null;
  status: ConnectionStatus;
  /** Which of the tenant's is used where an agent names none. */
  isDefault: boolean;
  scopes: string[];
  error: string | null;
  expiresAt: string | null;
  createdAt: string;
  updatedAt: string;
}

/** Where a person must go to connect an account. */
export interface ConnectionLink {
  connectionId: string;
  url: string;
  expiresAt: string;
}
