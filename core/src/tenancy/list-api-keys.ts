import type { ApiKey } from "@agent-engine/protocol/administration.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { ApiKey as ApiKeyEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { toApiKey } from "./api-key-resource.ts";

/** The tenant's keys that are not revoked, newest first. */
export async function listApiKeys(ctx: Ctx, page: PageRequest): Promise<Page<ApiKey>> {
  const cursor = cursorId("key", page.cursor);
  const now = ctx.services.clock();
  return transactEntities(ctx, async (em) => {
    const rows = await em.find(
      ApiKeyEntity,
      { revokedAt: null, ...(cursor ? { id: { $lt: cursor } } : {}) },
      { orderBy: { id: "desc" }, limit: page.limit + 1 },
    );
    return pageOf(rows, page, (row) => toApiKey(row, now));
  });
}
