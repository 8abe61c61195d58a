import type { AuditProblem, AuditVerdict } from "@agent-engine/protocol/audit-log.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { AUDIT_COLUMNS, CHAIN_START, entryHash, type AuditRow } from "./entry.ts";

/** An entry that somebody knows from elsewhere: from an export, or from the process's log. */
export interface KnownEntry {
  seq: number;
  /** Hex. */
  hash: string;
}

const portion = statement<AuditRow>(
  "audit_portion",
  `select ${AUDIT_COLUMNS} from audit_log where tenant_id = $1 and seq > $2 order by seq limit $3`,
);

const headOf = statement<{ last_seq: string; last_hash: Buffer }>(
  "audit_head",
  "select last_seq, last_hash from audit_heads where tenant_id = $1",
);

const PORTION = 1_000;

/** Which part of the chain is checked. */
export interface CheckedPart {
  /** The entry that a check before ended with, by what it answered; null begins with the first. */
  after: KnownEntry | null;
  /** Entries at most, in portions. */
  atMost: number;
}

const EVERYTHING: CheckedPart = { after: null, atMost: Infinity };

/**
 * Reads the tenant's chain and computes every hash again; answers the first place where it does not fit. Of a part, what
 * was answered leads on to the next: `entries` and `lastHash` are its `after`.
 *
 * - changed: the entry's text, number or place is not what was hashed
 * - missing: entries are gone, from the middle or from the end
 * - unlinked: the entry does not follow the one before it
 * - unexpected: entries that nobody added by the function that adds
 * - rewritten: the chain is whole, but not the one that `known` was part of
 */
export async function verifyAuditLog(
  ctx: Ctx,
  known: KnownEntry | null = null,
  { after, atMost }: CheckedPart = EVERYTHING,
): Promise<AuditVerdict> {
  // Before the entries: what is added while they are read only makes the chain longer.
  const tenant = uuidOf(ctx.tenantId);
  const [head] = await transact(ctx, (tx) => tx.query(headOf, [tenant]));
  const end = { seq: Number(head?.last_seq ?? 0), hash: head?.last_hash ?? CHAIN_START };
  let seq = after?.seq ?? 0;
  let hash: Buffer = after ? Buffer.from(after.hash, "hex") : CHAIN_START;
  const enough = seq + atMost;
  const broken = (at: number, kind: AuditProblem["kind"], detail: string): AuditVerdict => ({
    valid: false,
    isComplete: true,
    entries: seq,
    lastHash: hash.toString("hex"),
    problem: { seq: at, kind, detail },
  });
  if (after && after.seq > end.seq) {
    seq = end.seq;
    return broken(end.seq + 1, "missing", `You know an entry ${after.seq}; the chain ends with entry ${end.seq}.`);
  }
  if (after?.seq === end.seq && !hash.equals(end.hash)) {
    return broken(end.seq, "rewritten", `Entry ${end.seq} has another hash than the one you know.`);
  }
  for (;;) {
    // One beyond the end of the part as well, where the chain should end there: somebody may have forged it.
    const wanted = Math.max(1, Math.min(PORTION, enough - seq));
    const rows = await transact(ctx, (tx) => tx.query(portion, [tenant, seq, wanted]));
    for (const row of rows) {
      const at = Number(row.seq);
      if (at !== seq + 1) {
        const gone = at === seq + 2 ? `Entry ${seq + 1} is` : `Entries ${seq + 1} to ${at - 1} are`;
        return broken(seq + 1, "missing", `${gone} missing.`);
      }
      if (!row.previous_hash.equals(hash)) {
        return broken(at, "unlinked", `Entry ${at} does not follow entry ${seq}: one of them was replaced or moved.`);
      }
      if (!entryHash(hash, ctx.tenantId, at, row.entry).equals(row.hash)) {
        return broken(at, "changed", `Entry ${at} is not what was written: its content, number or hash was changed.`);
      }
      if (known?.seq === at && row.hash.toString("hex") !== known.hash.toLowerCase()) {
        return broken(at, "rewritten", `Entry ${at} has another hash than the one you know: the chain was made anew.`);
      }
      if (at === end.seq && !row.hash.equals(end.hash)) {
        return broken(at, "changed", `Entry ${at} was the last one, with another hash: it was replaced.`);
      }
      seq = at;
      hash = row.hash;
    }
    if (seq >= enough && seq < end.seq) {
      return { valid: true, isComplete: false, entries: seq, lastHash: hash.toString("hex"), problem: null };
    }
    if (rows.length < wanted || seq > enough) break;
  }
  if (seq < end.seq) {
    return broken(
      seq + 1,
      "missing",
      `The chain ended with entry ${end.seq}; everything after entry ${seq} is missing.`,
    );
  }
  if (known !== null && known.seq > seq) {
    return broken(seq + 1, "missing", `You know an entry ${known.seq}; the chain ends with entry ${seq}.`);
  }
  return unexpected(ctx, { seq, hash }, broken);
}

/** Entries beyond the end are new ones or forged ones: what was added rightly has moved the head. */
async function unexpected(
  ctx: Ctx,
  last: { seq: number; hash: Buffer },
  broken: (at: number, kind: AuditProblem["kind"], detail: string) => AuditVerdict,
): Promise<AuditVerdict> {
  const [head] = await transact(ctx, (tx) => tx.query(headOf, [uuidOf(ctx.tenantId)]));
  const end = Number(head?.last_seq ?? 0);
  if (last.seq > end) {
    return broken(end + 1, "unexpected", `The chain ended with entry ${end}; entry ${end + 1} was not added by it.`);
  }
  return { valid: true, isComplete: true, entries: last.seq, lastHash: last.hash.toString("hex"), problem: null };
}
