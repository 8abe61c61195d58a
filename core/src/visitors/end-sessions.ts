import type { SessionId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { VISITOR_TOKEN_RENEWAL_SECONDS, VISITOR_TOKEN_SECONDS } from "./visitor-token.ts";

const HOUR_MS = 3_600_000;
/** A session could be renewed so long; a visitor's row knows by itself what was issued too early. */
const KEEP_SESSION_MS = (VISITOR_TOKEN_RENEWAL_SECONDS + VISITOR_TOKEN_SECONDS) * 1_000 + HOUR_MS;
const KEEP_VISITOR_MS = VISITOR_TOKEN_SECONDS * 1_000 + HOUR_MS;

const revoke = statement(
  "revocation_store",
  `insert into revocations (tenant_id, kind, subject, at, keep_until) values ($1, $2, $3, $4, $5)
   on conflict (tenant_id, kind, subject) do update
     set at = greatest(revocations.at, excluded.at), keep_until = excluded.keep_until, xid = excluded.xid`,
);

/** Ends one session, or whatever a visitor was given until now. Every server hears of it at once, or within seconds. */
export async function endSessions(ctx: Ctx, tx: Tx, subject: VisitorId | SessionId): Promise<void> {
  const now = ctx.services.clock();
  const kind = subject.startsWith("session_") ? "session" : "visitor";
  const keepMs = kind === "session" ? KEEP_SESSION_MS : KEEP_VISITOR_MS;
  await tx.query(revoke, [uuidOf(ctx.tenantId), kind, uuidOf(subject), new Date(now), new Date(now + keepMs)]);
  tx.afterCommit(() => ctx.services.bus.control.publish({ kind: "credentials.revoked" }));
}
