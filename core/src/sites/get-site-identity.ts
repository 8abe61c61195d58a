import type { SiteIdentity } from "@agent-engine/protocol/visitors.ts";
import type { Ctx } from "../context.ts";
import { transact } from "../db/transaction.ts";
import { findSiteIdentity, toSiteIdentity } from "./site-identity.ts";

export async function getSiteIdentity(ctx: Ctx, siteId: string): Promise<SiteIdentity> {
  const { row } = await transact(ctx, (tx) => findSiteIdentity(tx, siteId));
  return toSiteIdentity(row, ctx.services.clock());
}
