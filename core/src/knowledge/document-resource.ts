import type { Document } from "@agent-engine/protocol/resources.ts";
import type { DocumentEntity } from "../db/entities/entities.ts";

export function toDocument(entity: DocumentEntity): Document {
  return {
    id: entity.id,
    title: entity.title,
    url: entity.url ?? null,
    status: entity.status,
    error: entity.error ?? null,
    createdAt: entity.createdAt.toISOString(),
  };
}
