import type { SessionId, SiteId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig, ModelProviderName, SiteProfile, Visitor } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { ProblemError, notFound } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { resolveProviderName } from "../models/resolve-provider-name.ts";
import { endSessions } from "./end-sessions.ts";
import { identifyVisitor } from "./identify-visitor.ts";
import { MAX_IDENTITY_SECONDS, type VerifiedIdentity } from "./identity-token.ts";
import type { VisitorRow } from "./visitor-row.ts";
import type { VerifiedVisitor } from "./visitor-token.ts";

export interface OpenVisitorSession {
  siteId: SiteId;
  /** What an earlier, verified token says; a new visitor is made without it, or when it is void. */
  earlier?: EarlierSession;
  /** Who the customer's server says they are. */
  identity?: VerifiedIdentity;
  /** Ends the earlier session and begins another, as somebody new. */
  isReset?: boolean;
  /** Asked before a new anonymous visitor is made, in the same transaction; throws when they are not let in. */
  admit?: (tx: Tx) => Promise<void>;
}

export type EarlierSession = Pick<VerifiedVisitor, "visitorId" | "sessionId" | "issuedAt" | "identifiedAt">;

export interface OpenedVisitorSession {
  visitor: Visitor;
  site: SiteProfile;
  sessionId: SessionId;
  /** Ms since the epoch; null: they are anonymous. */
  identifiedAt: number | null;
}

/**
 * How long a visitor who was identified stays so without being identified again: a page that knows them says so each time
 * it is loaded, and one that does not, because they signed out elsewhere, must not show what is theirs for ever.
 */
export const IDENTIFIED_MS = MAX_IDENTITY_SECONDS * 1_000;

const siteProfile = statement<{
  site_name: string;
  theme: Record<string, string>;
  agent_id: string;
  agent_name: string;
  config: AgentConfig | null;
}>(
  "site_profile",
  `select s.name as site_name, s.theme, a.id as agent_id, a.name as agent_name, v.config
   from sites s join agents a on a.id = s.agent_id
   left join agent_versions v on v.agent_id = a.id and v.version = a.published_version
   where s.id = $1`,
);

const findEarlier = statement<VisitorRow & { is_over: boolean }>(
  "visitor_of_earlier_session",
  `select v.id, v.external_id, v.created_at, v.sessions_valid_after,
     v.merged_into is not null or v.erased_at is not null
       or coalesce(v.sessions_valid_after >= $4, false)
       or exists (select 1 from revocations r where r.tenant_id = v.tenant_id and r.kind = 'session' and r.subject = $3) as is_over
   from visitors v where v.id = $1 and v.site_id = $2`,
);

const sessionEnded = statement(
  "session_ended",
  "select 1 from revocations where tenant_id = $1 and kind = 'session' and subject = $2",
);

const insertVisitor = statement<VisitorRow>(
  "visitor_insert",
  `insert into visitors (id, tenant_id, site_id) values ($1, $2, $3)
   returning id, external_id, created_at, sessions_valid_after`,
);

const noteSeen = statement(
  "visitor_seen",
  "update visitors set seen_at = $2 where id = $1 and seen_at < $2::timestamptz - interval '1 day'",
);

const hasKeyForAuto = statement<{ has: boolean }>(
  "has_provider_key_for_auto",
  "select exists (select 1 from provider_keys where tenant_id = $1 and provider in ('openai', 'anthropic')) as has",
);

/** The tenant's own keys matter only where the installation has none: nothing more is asked for elsewhere. */
async function isLanguageModel(ctx: Ctx, tx: Tx, provider: ModelProviderName): Promise<boolean> {
  if (resolveProviderName(provider, ctx.services.models) !== "extractive") return true;
  if (provider !== "auto") return false;
  const [row] = await tx.query(hasKeyForAuto, [uuidOf(ctx.tenantId)]);
  return row?.has ?? false;
}

/** Finds or makes the visitor and says what the widget needs to know about its site. */
export async function openVisitorSession(ctx: Ctx, input: OpenVisitorSession): Promise<OpenedVisitorSession> {
  return transact(ctx, async (tx) => {
    const site = uuidOf(input.siteId);
    const [profile] = await tx.query(siteProfile, [site]);
    if (!profile) throw notFound("site");
    const { config } = profile;
    if (!config) {
      throw new ProblemError(
        "conflict",
        "The agent of this site is not published yet. Publish it, then reload the page.",
      );
    }
    const { visitor, sessionId, identifiedAt } = await findVisitor(ctx, tx, input);
    return {
      visitor: {
        id: idOf("visitor", visitor.id),
        externalId: visitor.external_id,
        createdAt: visitor.created_at.toISOString(),
      },
      site: {
        id: input.siteId,
        name: profile.site_name,
        agent: {
          id: idOf("agent", profile.agent_id),
          name: profile.agent_name,
          greeting: config.greeting,
          suggestions: config.suggestions,
          isLanguageModel: await isLanguageModel(ctx, tx, config.model.provider),
        },
        theme: profile.theme,
      },
      sessionId,
      identifiedAt,
    };
  });
}

interface Found {
  visitor: VisitorRow;
  sessionId: SessionId;
  identifiedAt: number | null;
}

async function findVisitor(
  ctx: Ctx,
  tx: Tx,
  { siteId, earlier, identity, isReset, admit }: OpenVisitorSession,
): Promise<Found> {
  const { services } = ctx;
  if (earlier && isReset) await endSessions(ctx, tx, earlier.sessionId);
  const kept = earlier && !isReset ? earlier : null;
  const known = kept && (await visitorOf(tx, siteId, kept));
  if (identity) {
    // A merge ends an anonymous visitor and not their browser's session: a page that asks twice is still the same page.
    const sessionId = (await isGoingOn(ctx, tx, kept)) ? kept?.sessionId : undefined;
    const session = { sessionId: sessionId ?? services.newId("session"), earlierVisitorId: known?.id ?? null };
    const visitor = await identifyVisitor(ctx, tx, { siteId, identity, ...session });
    return { visitor, sessionId: session.sessionId, identifiedAt: services.clock() };
  }
  const isStale = known?.external_id != null && services.clock() - (kept?.identifiedAt ?? 0) > IDENTIFIED_MS;
  if (known && kept && !isStale) {
    await tx.query(noteSeen, [known.id, new Date(services.clock())]);
    return { visitor: known, sessionId: kept.sessionId, identifiedAt: kept.identifiedAt };
  }
  await admit?.(tx);
  const values = [uuidOf(services.newId("visitor")), uuidOf(ctx.tenantId), uuidOf(siteId)];
  const [visitor] = await tx.query(insertVisitor, values);
  if (!visitor) throw new Error("the visitor was not stored");
  return { visitor, sessionId: services.newId("session"), identifiedAt: null };
}

/** Null when the token is void: its visitor became somebody else or is erased, or the session was ended. */
async function visitorOf(tx: Tx, siteId: string, earlier: EarlierSession): Promise<VisitorRow | null> {
  const { visitorId, sessionId, issuedAt } = earlier;
  const values = [uuidOf(visitorId), uuidOf(siteId), uuidOf(sessionId), new Date(issuedAt)];
  const [row] = await tx.query(findEarlier, values);
  return row && !row.is_over ? row : null;
}

async function isGoingOn(ctx: Ctx, tx: Tx, earlier: EarlierSession | null): Promise<boolean> {
  if (earlier === null) return false;
  const rows = await tx.query(sessionEnded, [uuidOf(ctx.tenantId), uuidOf(earlier.sessionId)]);
  return rows.length === 0;
}
