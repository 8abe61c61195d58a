import type { Site, SiteChallenge } from "@agent-engine/protocol/administration.ts";
import type { SiteId } from "@agent-engine/protocol/ids.ts";
import { findAgent } from "../agents/find-agent.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { SiteEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { newPublishableKey } from "../tenancy/api-key.ts";
import { checkOrigins } from "./check-origins.ts";
import { toSite } from "./site-resource.ts";

export interface CreateSite {
  name: string;
  agentId: string;
  /** Exact origins, or `https://*.example.com`. */
  allowedOrigins: readonly string[];
  theme?: Record<string, string>;
  challenge?: SiteChallenge | null;
}

/** Makes a place where the widget may be embedded. */
export async function createSite(ctx: Ctx, input: CreateSite): Promise<Site & { id: SiteId }> {
  const allowedOrigins = await checkOrigins(input.allowedOrigins);
  const now = ctx.services.clock();
  return transactEntities(ctx, async (em, tx) => {
    // Foreign keys do not know of tenants: an agent of another one would be taken.
    const agent = await findAgent(em, input.agentId);
    const site = em.create(SiteEntity, {
      id: ctx.services.newId("site"),
      tenantId: ctx.tenantId,
      agentId: agent.id,
      name: input.name,
      publishableKey: newPublishableKey(),
      allowedOrigins,
      theme: input.theme ?? {},
      challenge: input.challenge ?? null,
      createdAt: new Date(now),
    });
    await em.flush();
    const made = { ...toSite(site, now), id: site.id };
    await audit(ctx, tx, { action: "site.created", target: { kind: "site", id: site.id }, after: made });
    return made;
  });
}
