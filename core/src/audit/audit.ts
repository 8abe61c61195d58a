import type { Actor, Ctx, Services } from "../context.ts";
import { cleanJson } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { canonicalJson } from "./canonical-json.ts";
import { changed, type Fields } from "./changed.ts";

/** What was done: the kind of thing and the verb in the past, for instance `agent.published`. */
export type AuditAction = `${string}.${string}`;

export interface AuditChange {
  action: AuditAction;
  /** What it was done to. `id` is an API id where there is one. */
  target: { kind: string; id: string };
  /**
   * The resource as the API answers it, before and after; only what differs is kept. Null or absent where there was
   * none. Secrets must be masked already; values under names like `apiKey` or `password` are redacted besides.
   */
  before?: Fields | null;
  after?: Fields | null;
}

/** Who did it. The platform itself is whoever operates the installation: a command, the start, the seed. */
export interface AuditActor {
  kind: "member" | "secret_key" | "visitor" | "platform";
  id: string | null;
}

/** What an entry says; exactly this, as canonical JSON, is what its hash covers. */
export interface AuditEntryContent {
  action: string;
  actor: AuditActor;
  after: Fields | null;
  at: string;
  before: Fields | null;
  correlationId: string;
  /** Where the request came from, as far as the server knows. */
  ip: string | null;
  target: { kind: string; id: string };
}

/** What of a context an entry needs. */
export type AuditCtx = Omit<Ctx, "services"> & { services: Pick<Services, "clock" | "log"> };

const append = statement<{ seq: string; hash: Buffer }>("audit_append", "select seq, hash from append_audit($1, $2)");

/**
 * Adds an entry to the tenant's audit log, in the transaction of the change it speaks of: one exists exactly when the
 * other does. Call it last: it locks the end of the tenant's chain until the commit, and whoever holds that lock must
 * wait for nothing else. For configuration and for what staff decide, never for messages: a tenant's entries are written
 * one after the other.
 *
 * The line in the process's log is what an auditor holds against a chain that was made anew as a whole.
 */
export async function audit(ctx: AuditCtx, tx: Tx, change: AuditChange): Promise<void> {
  const { before, after } = changed(change.before ?? null, change.after ?? null);
  const content: AuditEntryContent = {
    action: change.action,
    actor: actorOf(ctx.actor),
    after,
    at: new Date(ctx.services.clock()).toISOString(),
    before,
    correlationId: ctx.correlationId,
    ip: ctx.ip ?? null,
    target: change.target,
  };
  const [row] = await tx.query(append, [uuidOf(ctx.tenantId), canonicalJson(cleanJson(content))]);
  if (!row) throw new Error("the audit log took no entry");
  const { action } = change;
  const line = { tenantId: ctx.tenantId, correlationId: ctx.correlationId, action, auditSeq: Number(row.seq) };
  tx.afterCommit(() => ctx.services.log.info({ ...line, auditHash: row.hash.toString("hex") }, "audited"));
}

/**
 * The same for what visitors do with their own conversations as well, as staff do with everybody's: only staff's is a
 * matter of record. A visitor's is in the conversation's log.
 */
export async function auditStaff(ctx: Ctx, tx: Tx, change: AuditChange): Promise<void> {
  if (ctx.actor.kind !== "visitor") await audit(ctx, tx, change);
}

function actorOf(actor: Actor): AuditActor {
  switch (actor.kind) {
    case "member":
      return { kind: "member", id: actor.memberId };
    case "secret_key":
      return { kind: "secret_key", id: actor.apiKeyId };
    case "visitor":
      return { kind: "visitor", id: actor.visitorId };
    case "worker":
      return { kind: "platform", id: null };
  }
}
