import { createHash } from "node:crypto";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { AuditEntry } from "@agent-engine/protocol/audit-log.ts";
import type { AuditEntryContent } from "./audit.ts";

/** What the first entry of a chain follows. */
export const CHAIN_START = Buffer.alloc(32);

export interface AuditRow {
  seq: string;
  /** The very text that was hashed. */
  entry: string;
  previous_hash: Buffer;
  hash: Buffer;
}

/** The columns of an `AuditRow`. */
export const AUDIT_COLUMNS = "seq, entry::text as entry, previous_hash, hash";

/** The hash of an entry, as `append_audit` made it: over the previous one, the tenant, the number and the text. */
export function entryHash(previousHash: Buffer, tenantId: TenantId, seq: number, entry: string): Buffer {
  return createHash("sha256")
    .update(previousHash)
    .update(`${tenantUuid(tenantId)}:${seq}:${entry}`)
    .digest();
}

/** With dashes, as Postgres writes it. */
function tenantUuid(tenantId: TenantId): string {
  const hex = tenantId.slice("tenant_".length);
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function toAuditEntry(row: AuditRow): AuditEntry {
  const content = JSON.parse(row.entry) as AuditEntryContent;
  return {
    seq: Number(row.seq),
    at: content.at,
    actor: content.actor,
    action: content.action,
    target: content.target,
    before: content.before,
    after: content.after,
    correlationId: content.correlationId,
    ip: content.ip,
    previousHash: row.previous_hash.toString("hex"),
    hash: row.hash.toString("hex"),
  };
}
