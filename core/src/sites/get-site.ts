import type { Site } from "@agent-engine/protocol/administration.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { findSite, toSite } from "./site-resource.ts";

export async function getSite(ctx: Ctx, siteId: string): Promise<Site> {
  return transactEntities(ctx, async (em) => toSite(await findSite(em, siteId), ctx.services.clock()));
}
