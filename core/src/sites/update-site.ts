import type { Site } from "@agent-engine/protocol/administration.ts";
import { findAgent } from "../agents/find-agent.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { checkOrigins } from "./check-origins.ts";
import type { CreateSite } from "./create-site.ts";
import { findSite, toSite } from "./site-resource.ts";

/** Replaces the fields it names. Every server goes by the new origins within seconds. */
export async function updateSite(ctx: Ctx, input: { siteId: string; change: Partial<CreateSite> }): Promise<Site> {
  const { name, agentId, allowedOrigins, theme, challenge } = input.change;
  const origins = allowedOrigins && (await checkOrigins(allowedOrigins));
  return transactEntities(ctx, async (em, tx) => {
    const site = await findSite(em, input.siteId, { lock: true });
    const now = ctx.services.clock();
    const before = toSite(site, now);
    if (agentId !== undefined) site.agentId = (await findAgent(em, agentId)).id;
    if (name !== undefined) site.name = name;
    if (origins !== undefined) site.allowedOrigins = origins;
    if (theme !== undefined) site.theme = theme;
    if (challenge !== undefined) site.challenge = challenge;
    await em.flush();
    const after = toSite(site, now);
    const target = { kind: "site", id: site.id };
    await audit(ctx, tx, { action: "site.updated", target, before: { ...before }, after: { ...after } });
    return after;
  });
}
