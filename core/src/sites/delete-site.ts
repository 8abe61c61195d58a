import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { findSite, toSite } from "./site-resource.ts";

/** Its key opens no session any more, its origins count for nothing. Its conversations stay. */
export async function deleteSite(ctx: Ctx, siteId: string): Promise<void> {
  await transactEntities(ctx, async (em, tx) => {
    const site = await findSite(em, siteId, { lock: true });
    const now = ctx.services.clock();
    site.deletedAt = new Date(now);
    await em.flush();
    const target = { kind: "site", id: site.id };
    await audit(ctx, tx, { action: "site.deleted", target, before: { ...toSite(site, now) } });
  });
}
