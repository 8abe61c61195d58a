import type { Site } from "@agent-engine/protocol/administration.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { SiteEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { toSite } from "./site-resource.ts";

/** The tenant's sites, newest first. */
export async function listSites(ctx: Ctx, page: PageRequest): Promise<Page<Site>> {
  const cursor = cursorId("site", page.cursor);
  const now = ctx.services.clock();
  return transactEntities(ctx, async (em) => {
    const rows = await em.find(
      SiteEntity,
      { deletedAt: null, ...(cursor ? { id: { $lt: cursor } } : {}) },
      { orderBy: { id: "desc" }, limit: page.limit + 1 },
    );
    return pageOf(rows, page, (row) => toSite(row, now));
  });
}
