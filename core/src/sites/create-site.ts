import type { AgentId, SiteId } from "@agent-engine/protocol/ids.ts";
import { findAgent } from "../agents/find-agent.ts";
import type { Ctx } from "../context.ts";
import { SiteEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { newPublishableKey } from "../tenancy/api-key.ts";

export interface CreateSite {
  name: string;
  agentId: AgentId;
  /** Exact origins, or `https://*.example.com`. */
  allowedOrigins: string[];
}

/** Makes a place where the widget may be embedded. */
export async function createSite(ctx: Ctx, input: CreateSite): Promise<{ id: SiteId; publishableKey: string }> {
  return transactEntities(ctx, async (em) => {
    // Foreign keys do not know of tenants: an agent of another one would be taken.
    await findAgent(em, input.agentId);
    const site = em.create(SiteEntity, {
      id: ctx.services.newId("site"),
      tenantId: ctx.tenantId,
      agentId: input.agentId,
      name: input.name,
      publishableKey: newPublishableKey(),
      allowedOrigins: input.allowedOrigins,
      theme: {},
      createdAt: new Date(ctx.services.clock()),
    });
    await em.flush();
    return { id: site.id, publishableKey: site.publishableKey };
  });
}
