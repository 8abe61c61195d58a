import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { findApiKey, toApiKey } from "./api-key-resource.ts";

/** Ends a key at once, with the one it replaced. Its row stays: it says whose requests those were. */
export async function revokeApiKey(ctx: Ctx, apiKeyId: string): Promise<void> {
  await transactEntities(ctx, async (em, tx) => {
    const row = await findApiKey(em, apiKeyId);
    const now = ctx.services.clock();
    const before = toApiKey(row, now);
    row.revokedAt = new Date(now);
    await em.flush();
    const target = { kind: "api_key", id: row.id };
    await audit(ctx, tx, { action: "api_key.revoked", target, before: { ...before } });
  });
}
