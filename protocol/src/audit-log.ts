/** One change, as the audit log keeps it. */
export interface AuditEntry {
  /** 1..n without gaps in the tenant. */
  seq: number;
  at: string;
  /** `platform` is whoever operates the installation: its commands, its start. */
  actor: { kind: "member" | "secret_key" | "visitor" | "platform"; id: string | null };
  /** For instance `agent.published`. */
  action: string;
  target: { kind: string; id: string };
  /** The fields that changed, without secrets; null where there was nothing. */
  before: Record<string, unknown> | null;
  after: Record<string, unknown> | null;
  correlationId: string;
  ip: string | null;
  /** Hex of SHA-256; `docs/security.md` says over what. */
  previousHash: string;
  hash: string;
}

export interface AuditProblem {
  /** Where: the first entry that does not fit, or that is not there. */
  seq: number;
  kind: "changed" | "missing" | "unlinked" | "unexpected" | "rewritten";
  detail: string;
}

/** Whether a tenant's audit log is what was written. */
export interface AuditVerdict {
  valid: boolean;
  /** False: what was checked fits, and there is more. Ask again after `entries` and `lastHash`. */
  isComplete: boolean;
  /** How many entries fit, from the first on. */
  entries: number;
  /** The hash of the last of them. */
  lastHash: string;
  problem: AuditProblem | null;
}
