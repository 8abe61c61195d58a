import type { NewApiKey } from "@agent-engine/protocol/administration.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { ApiKey } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { ProblemError } from "../errors.ts";
import { API_KEY_SCOPES } from "../members/permissions.ts";
import { checkGrant } from "./check-grant.ts";
import { hashSecretKey, newSecretKey, prefixOf } from "./api-key.ts";
import { toApiKey } from "./api-key-resource.ts";

/**
 * Makes a secret key. The key itself is in the answer and nowhere else: only its hash is kept. Throws `forbidden` when
 * it would be allowed more than whoever makes it.
 */
export async function createApiKey(
  ctx: Ctx,
  input: { name: string; scopes: readonly string[]; expiresAt?: string | null },
): Promise<NewApiKey> {
  const scopes = [...new Set(input.scopes)];
  const known: readonly string[] = API_KEY_SCOPES;
  const unknown = scopes.find((scope) => !known.includes(scope));
  if (unknown !== undefined) {
    throw new ProblemError(
      "invalid_request",
      `\`scopes\` has no \`${unknown.slice(0, 100)}\`. There are ${API_KEY_SCOPES.map((scope) => `\`${scope}\``).join(", ")}.`,
    );
  }
  checkGrant(ctx.actor, scopes);
  const now = ctx.services.clock();
  const expiresAt = input.expiresAt == null ? null : new Date(input.expiresAt);
  if (expiresAt !== null && expiresAt.getTime() <= now) {
    throw new ProblemError("invalid_request", "`expiresAt` must be in the future.");
  }
  const key = newSecretKey();
  return transactEntities(ctx, async (em, tx) => {
    const row = em.create(ApiKey, {
      id: ctx.services.newId("key"),
      tenantId: ctx.tenantId,
      name: input.name,
      hash: hashSecretKey(key),
      prefix: prefixOf(key),
      scopes,
      expiresAt,
      revokedAt: null,
      createdAt: new Date(now),
    });
    await em.flush();
    const made = toApiKey(row, now);
    await audit(ctx, tx, { action: "api_key.created", target: { kind: "api_key", id: row.id }, after: { ...made } });
    return { ...made, key };
  });
}
