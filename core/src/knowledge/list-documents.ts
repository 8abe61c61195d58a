import type { Document, Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { DocumentEntity } from "../db/entities/entities.ts";
import { cursorId, pageOf, type PageRequest } from "../db/page.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { toDocument } from "./document-resource.ts";

/** The tenant's documents, newest first. */
export async function listDocuments(ctx: Ctx, page: PageRequest): Promise<Page<Document>> {
  const cursor = cursorId("doc", page.cursor);
  return transactEntities(ctx, async (em) => {
    const documents = await em.find(DocumentEntity, cursor ? { id: { $lt: cursor } } : {}, {
      orderBy: { id: "desc" },
      limit: page.limit + 1,
    });
    return pageOf(documents, page, toDocument);
  });
}
