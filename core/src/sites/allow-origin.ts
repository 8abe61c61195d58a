import type { SiteId } from "@agent-engine/protocol/ids.ts";
import type { Ctx } from "../context.ts";
import { SiteEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { notFound } from "../errors.ts";

/** Adds an origin to those that may embed the widget; adding it twice changes nothing. */
export async function allowOrigin(ctx: Ctx, input: { siteId: SiteId; origin: string }): Promise<void> {
  await transactEntities(ctx, async (em) => {
    const site = await em.findOne(SiteEntity, { id: input.siteId });
    if (!site) throw notFound("site");
    if (!site.allowedOrigins.includes(input.origin)) site.allowedOrigins = [...site.allowedOrigins, input.origin];
    await em.flush();
  });
}
