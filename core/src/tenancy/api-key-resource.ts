import type { ApiKey } from "@agent-engine/protocol/administration.ts";
import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/core";
import { ApiKey as ApiKeyEntity } from "../db/entities/entities.ts";
import { notFound } from "../errors.ts";
import { parseId } from "../ids.ts";

export function toApiKey(entity: ApiKeyEntity, now: number): ApiKey {
  const { previousUntil } = entity;
  return {
    id: entity.id,
    name: entity.name,
    prefix: entity.prefix,
    scopes: entity.scopes,
    expiresAt: entity.expiresAt?.toISOString() ?? null,
    lastUsedAt: entity.lastUsedAt?.toISOString() ?? null,
    previousKeyExpiresAt: previousUntil && previousUntil.getTime() > now ? previousUntil.toISOString() : null,
    createdAt: entity.createdAt.toISOString(),
  };
}

/** The key of the transaction's tenant, locked; a revoked one is as good as none. */
export async function findApiKey(em: EntityManager, id: string): Promise<ApiKeyEntity> {
  const apiKeyId = parseId("key", id, "API key");
  const key = await em.findOne(
    ApiKeyEntity,
    { id: apiKeyId, revokedAt: null },
    { lockMode: LockMode.PESSIMISTIC_WRITE },
  );
  if (!key) throw notFound("API key");
  return key;
}
