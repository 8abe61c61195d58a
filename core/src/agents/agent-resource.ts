import { isDeepStrictEqual } from "node:util";
import type { Agent, AgentVersion } from "@agent-engine/protocol/resources.ts";
import { maskSecrets } from "./agent-secrets.ts";
import type { AgentEntity, AgentVersionEntity } from "../db/entities/entities.ts";
import { masked } from "../secrets/mask.ts";
import { withoutPins } from "./installed-choices.ts";
import { isSecretReference, mapSecretSettings } from "../toolkits/secret-settings.ts";

export function toAgent(entity: AgentEntity, published: AgentVersionEntity | null): Agent {
  return {
    id: entity.id,
    name: entity.name,
    draft: maskSecrets(entity.draft),
    publishedVersion: entity.publishedVersion ?? null,
    hasUnpublishedChanges:
      published === null || !isDeepStrictEqual(withoutPins(published.config), withoutPins(entity.draft)),
    createdAt: entity.createdAt.toISOString(),
    updatedAt: entity.updatedAt.toISOString(),
  };
}

/**
 * An agent as the audit log compares it: its draft's fields, with the stored form of secrets, so that another secret is
 * a change. What would show one is redacted or masked.
 */
export function auditedAgent({ name, draft }: AgentEntity): Record<string, unknown> {
  const toolkits = draft.toolkits.map((choice) =>
    mapSecretSettings(choice, (value) => (isSecretReference(value) ? value : masked(""))),
  );
  return { name, ...draft, toolkits };
}

export function toAgentVersion(entity: AgentVersionEntity): AgentVersion {
  return {
    agentId: entity.agentId,
    version: entity.version,
    config: maskSecrets(entity.config),
    publishedAt: entity.publishedAt.toISOString(),
  };
}
