import type { NewApiKey } from "@agent-engine/protocol/administration.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { hashSecretKey, newSecretKey, prefixOf } from "./api-key.ts";
import { findApiKey, toApiKey } from "./api-key-resource.ts";
import { checkGrant } from "./check-grant.ts";

/**
 * Replaces a key, id and scopes staying. The one it replaces works for `overlapSeconds` more; one that was still in the
 * overlap of an earlier rotation ends now.
 */
export async function rotateApiKey(ctx: Ctx, input: { apiKeyId: string; overlapSeconds: number }): Promise<NewApiKey> {
  const key = newSecretKey();
  const now = ctx.services.clock();
  return transactEntities(ctx, async (em, tx) => {
    const row = await findApiKey(em, input.apiKeyId);
    checkGrant(ctx.actor, row.scopes);
    const before = toApiKey(row, now);
    const hasOverlap = input.overlapSeconds > 0;
    row.previousHash = hasOverlap ? row.hash : null;
    row.previousUntil = hasOverlap ? new Date(now + input.overlapSeconds * 1_000) : null;
    row.hash = hashSecretKey(key);
    row.prefix = prefixOf(key);
    await em.flush();
    const after = toApiKey(row, now);
    const target = { kind: "api_key", id: row.id };
    await audit(ctx, tx, { action: "api_key.rotated", target, before: { ...before }, after: { ...after } });
    return { ...after, key };
  });
}
