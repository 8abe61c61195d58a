import type { SiteProfile, Visitor } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { AgentEntity, AgentVersionEntity, SiteEntity, VisitorEntity } from "../db/entities/entities.ts";
import { ProblemError, notFound } from "../errors.ts";
import { resolveProviderName } from "../models/resolve-provider-name.ts";

export interface OpenVisitorSession {
  siteId: SiteEntity["id"];
  /** The visitor of an earlier, verified token; a new visitor is made without it, or when it is gone. */
  visitorId?: VisitorEntity["id"];
}

/** Finds or makes the visitor and says what the widget needs to know about its site. */
export async function openVisitorSession(
  ctx: Ctx,
  input: OpenVisitorSession,
): Promise<{ visitor: Visitor; site: SiteProfile }> {
  return transactEntities(ctx, async (em) => {
    const site = await em.findOne(SiteEntity, { id: input.siteId });
    if (!site) throw notFound("site");
    const agent = await em.findOne(AgentEntity, { id: site.agentId });
    const version =
      agent?.publishedVersion == null
        ? null
        : await em.findOne(AgentVersionEntity, { agentId: agent.id, version: agent.publishedVersion });
    if (!agent || !version) {
      throw new ProblemError("conflict", "The agent of this site is not published yet. Publish it, then reload the page.");
    }
    const known = input.visitorId ? await em.findOne(VisitorEntity, { id: input.visitorId, siteId: site.id }) : null;
    const visitor =
      known ??
      em.create(VisitorEntity, {
        id: ctx.services.newId("visitor"),
        tenantId: ctx.tenantId,
        siteId: site.id,
        externalId: null,
        createdAt: new Date(ctx.services.clock()),
      });
    await em.flush();
    return {
      visitor: { id: visitor.id, externalId: visitor.externalId ?? null, createdAt: visitor.createdAt.toISOString() },
      site: {
        id: site.id,
        name: site.name,
        agent: {
          id: agent.id,
          name: agent.name,
          greeting: version.config.greeting,
          suggestions: version.config.suggestions,
          isLanguageModel: resolveProviderName(version.config.model.provider, ctx.services.models) !== "extractive",
        },
        theme: site.theme,
      },
    };
  });
}
