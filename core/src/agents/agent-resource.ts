import { isDeepStrictEqual } from "node:util";
import type { Agent, AgentVersion } from "@agent-engine/protocol/resources.ts";
import type { AgentEntity, AgentVersionEntity } from "../db/entities/entities.ts";

export function toAgent(entity: AgentEntity, published: AgentVersionEntity | null): Agent {
  return {
    id: entity.id,
    name: entity.name,
    draft: entity.draft,
    publishedVersion: entity.publishedVersion ?? null,
    hasUnpublishedChanges: published === null || !isDeepStrictEqual(published.config, entity.draft),
    createdAt: entity.createdAt.toISOString(),
    updatedAt: entity.updatedAt.toISOString(),
  };
}

export function toAgentVersion(entity: AgentVersionEntity): AgentVersion {
  return {
    agentId: entity.agentId,
    version: entity.version,
    config: entity.config,
    publishedAt: entity.publishedAt.toISOString(),
  };
}
