import type { SessionId, SiteId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { ProblemError } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { endSessions } from "./end-sessions.ts";
import type { VerifiedIdentity } from "./identity-token.ts";
import type { VisitorRow } from "./visitor-row.ts";

// Erased visitors have no external id: whoever comes back after that is somebody new.
const upsert = statement<VisitorRow>(
  "visitor_identify",
  `insert into visitors (id, tenant_id, site_id, external_id, name, email, traits, identified_at)
   values ($1, $2, $3, $4, $5, $6, coalesce($7::jsonb, '{}'), $8)
   on conflict (site_id, external_id) where external_id is not null do update
     set name = coalesce($5, visitors.name), email = coalesce($6, visitors.email),
         traits = coalesce($7::jsonb, visitors.traits), identified_at = $8
   returning id, external_id, created_at, sessions_valid_after`,
);

const use = statement<{ session_id: string }>(
  "identity_token_use",
  `insert into used_identity_tokens (site_id, token_hash, tenant_id, session_id, expires_at) values ($1, $2, $3, $4, $5)
   on conflict (site_id, token_hash) do update set session_id = used_identity_tokens.session_id returning session_id`,
);

const lockAnonymous = statement(
  "visitor_lock_anonymous",
  `select id from visitors where id = $1 and site_id = $2 and external_id is null and merged_into is null and erased_at is null
   for update`,
);

// One statement: what the anonymous visitor had is the other's, and nobody is them any more.
const merge = statement(
  "visitor_merge",
  `with moved as (update conversations set visitor_id = $2 where visitor_id = $1)
   update visitors set merged_into = $2, sessions_valid_after = $3 where id = $1`,
);

export interface IdentifyVisitor {
  siteId: SiteId;
  identity: VerifiedIdentity;
  /** The one that the new token will name. */
  sessionId: SessionId;
  /** Who the page was until now, when that is known. */
  earlierVisitorId: string | null;
}

/** Longer than any token is accepted. */
const KEEP_USED_MS = 300_000;

/**
 * The visitor that the customer's server named; made when they are new. What the page's visitor said before they were
 * known becomes theirs, but only what an anonymous visitor said: nobody takes over the conversations of somebody else
 * who is known. Two tabs may do so at once: the second finds it done.
 */
export async function identifyVisitor(ctx: Ctx, tx: Tx, input: IdentifyVisitor): Promise<VisitorRow> {
  const { services, tenantId } = ctx;
  const { identity, sessionId } = input;
  const site = uuidOf(input.siteId);
  const now = services.clock();
  const [visitor] = await tx.query(upsert, [
    uuidOf(services.newId("visitor")),
    uuidOf(tenantId),
    site,
    identity.externalId,
    identity.name ?? null,
    identity.email ?? null,
    identity.traits === undefined ? null : jsonbOf(identity.traits),
    new Date(now),
  ]);
  if (!visitor) throw new Error("the visitor was not stored");
  // `iat` counts seconds: one signed in the second of the revocation may be from before it, and is refused.
  if (visitor.sessions_valid_after && identity.issuedAt < visitor.sessions_valid_after.getTime()) {
    throw new ProblemError(
      "unauthenticated",
      "The `identityToken` is refused: it was issued before this visitor's sessions were revoked. Sign a new one.",
    );
  }
  const expiresAt = new Date(identity.expiresAt + KEEP_USED_MS);
  const [used] = await tx.query(use, [site, identity.tokenHash, uuidOf(tenantId), uuidOf(sessionId), expiresAt]);
  if (!used || idOf("session", used.session_id) !== sessionId) {
    throw new ProblemError(
      "unauthenticated",
      "The `identityToken` is refused: it was used already, by another browser session. Sign a new one, with its own `jti`, for each page.",
    );
  }
  if (input.earlierVisitorId !== null) await mergeAnonymous(ctx, tx, input.earlierVisitorId, visitor.id, site);
  return visitor;
}

async function mergeAnonymous(ctx: Ctx, tx: Tx, earlierId: string, into: string, site: string): Promise<void> {
  const [anonymous] = await tx.query(lockAnonymous, [uuidOf(earlierId), site]);
  if (!anonymous) return;
  await tx.query(merge, [uuidOf(earlierId), into, new Date(ctx.services.clock())]);
  await endSessions(ctx, tx, idOf("visitor", uuidOf(earlierId)));
}
