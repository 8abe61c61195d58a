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
