import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { findApiKey } from "./api-key-resource.ts";

/** Ends a key at once, with the one it replaced. Its row stays: it says whose requests those were. */
export async function revokeApiKey(ctx: Ctx, apiKeyId: string): Promise<void> {
  await transactEntities(ctx, async (em) => {
    const row = await findApiKey(em, apiKeyId);
    row.revokedAt = new Date(ctx.services.clock());
    await em.flush();
  });
}
