import type { Ctx } from "../context.ts";
import { ApiKey } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import type { ApiKeyScope } from "../members/permissions.ts";
import { hashSecretKey, newSecretKey } from "./api-key.ts";

/** Makes a secret key. The key itself is in the answer and nowhere else: only its hash is kept. */
export async function createApiKey(
  ctx: Ctx,
  input: { name: string; scopes: readonly ApiKeyScope[] },
): Promise<{ id: string; key: string }> {
  const key = newSecretKey();
  return transactEntities(ctx, async (em) => {
    const row = em.create(ApiKey, {
      id: ctx.services.newId("key"),
      tenantId: ctx.tenantId,
      name: input.name,
      hash: hashSecretKey(key),
      prefix: key.slice(0, 8),
      scopes: [...input.scopes],
      expiresAt: null,
      revokedAt: null,
      createdAt: new Date(ctx.services.clock()),
    });
    await em.flush();
    return { id: row.id, key };
  });
}
