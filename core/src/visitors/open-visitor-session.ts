import type { SiteId, VisitorId } from "@agent-engine/protocol/ids.ts";
import type { AgentConfig, ModelProviderName, SiteProfile, Visitor } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { ProblemError, notFound } from "../errors.ts";
import { idOf, uuidOf } from "../ids.ts";
import { resolveProviderName } from "../models/resolve-provider-name.ts";

export interface OpenVisitorSession {
  siteId: SiteId;
  /** The visitor of an earlier, verified token; a new visitor is made without it, or when it is gone. */
  visitorId?: VisitorId;
}

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

interface VisitorRow {
  id: string;
  external_id: string | null;
  created_at: Date;
}

const findVisitor = statement<VisitorRow>(
  "visitor_of_site",
  "select id, external_id, created_at from visitors where id = $1 and site_id = $2",
);

const insertVisitor = statement<VisitorRow>(
  "visitor_insert",
  "insert into visitors (id, tenant_id, site_id) values ($1, $2, $3) returning id, external_id, created_at",
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
export async function openVisitorSession(
  ctx: Ctx,
  input: OpenVisitorSession,
): Promise<{ visitor: Visitor; site: SiteProfile }> {
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
    const [known] = input.visitorId ? await tx.query(findVisitor, [uuidOf(input.visitorId), site]) : [];
    const [visitor] = known
      ? [known]
      : await tx.query(insertVisitor, [uuidOf(ctx.services.newId("visitor")), uuidOf(ctx.tenantId), site]);
    if (!visitor) throw new Error("the visitor was not stored");
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
    };
  });
}
