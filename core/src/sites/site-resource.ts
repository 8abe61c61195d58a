import type { Site } from "@agent-engine/protocol/administration.ts";
import type { EntityManager } from "@mikro-orm/postgresql";
import { LockMode } from "@mikro-orm/core";
import { SiteEntity } from "../db/entities/entities.ts";
import { notFound } from "../errors.ts";
import { parseId } from "../ids.ts";

export function toSite(entity: SiteEntity, now: number): Site {
  const { previousKeyUntil } = entity;
  return {
    id: entity.id,
    name: entity.name,
    agentId: entity.agentId,
    publishableKey: entity.publishableKey,
    previousKeyExpiresAt: previousKeyUntil && previousKeyUntil.getTime() > now ? previousKeyUntil.toISOString() : null,
    allowedOrigins: entity.allowedOrigins,
    theme: entity.theme,
    challenge: entity.challenge ?? null,
    createdAt: entity.createdAt.toISOString(),
  };
}

/** The site of the transaction's tenant, locked when it is about to change. */
export async function findSite(em: EntityManager, id: string, options: { lock?: boolean } = {}): Promise<SiteEntity> {
  const siteId = parseId("site", id, "site");
  const site = await em.findOne(
    SiteEntity,
    { id: siteId, deletedAt: null },
    options.lock ? { lockMode: LockMode.PESSIMISTIC_WRITE } : {},
  );
  if (!site) throw notFound("site");
  return site;
}
