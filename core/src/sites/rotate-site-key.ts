import type { Site } from "@agent-engine/protocol/administration.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { newPublishableKey } from "../tenancy/api-key.ts";
import { findSite, toSite } from "./site-resource.ts";

/**
 * Gives a site another publishable key. Pages with the one it replaces work for `overlapSeconds` more; one that was
 * still in the overlap of an earlier rotation ends now.
 */
export async function rotateSiteKey(ctx: Ctx, input: { siteId: string; overlapSeconds: number }): Promise<Site> {
  const now = ctx.services.clock();
  return transactEntities(ctx, async (em, tx) => {
    const site = await findSite(em, input.siteId, { lock: true });
    const before = toSite(site, now);
    const hasOverlap = input.overlapSeconds > 0;
    site.previousPublishableKey = hasOverlap ? site.publishableKey : null;
    site.previousKeyUntil = hasOverlap ? new Date(now + input.overlapSeconds * 1_000) : null;
    site.publishableKey = newPublishableKey();
    await em.flush();
    const after = toSite(site, now);
    const target = { kind: "site", id: site.id };
    await audit(ctx, tx, { action: "site.key_rotated", target, before: { ...before }, after: { ...after } });
    return after;
  });
}
