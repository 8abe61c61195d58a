import type { Document } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { DocumentEntity } from "../db/entities/entities.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { notFound } from "../errors.ts";
import { parseId } from "../ids.ts";
import { toDocument } from "./document-resource.ts";

export async function getDocument(ctx: Ctx, id: string): Promise<Document> {
  const documentId = parseId("doc", id, "document");
  return transactEntities(ctx, async (em) => {
    const document = await em.findOne(DocumentEntity, { id: documentId });
    if (!document) throw notFound("document");
    return toDocument(document);
  });
}
