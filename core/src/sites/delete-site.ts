import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { findSite } from "./site-resource.ts";

/** Its key opens no session any more, its origins count for nothing. Its conversations stay. */
export async function deleteSite(ctx: Ctx, siteId: string): Promise<void> {
  await transactEntities(ctx, async (em) => {
    const site = await findSite(em, siteId, { lock: true });
    site.deletedAt = new Date(ctx.services.clock());
    await em.flush();
  });
}
