import type { Document } from "@agent-engine/protocol/resources.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { DocumentEntity } from "../db/entities/entities.ts";
import { statement } from "../db/statement.ts";
import { transactEntities } from "../db/entity-transaction.ts";
import { uuidOf } from "../ids.ts";
import { toDocument } from "./document-resource.ts";
import { splitPassages } from "./split-passages.ts";

export interface CreateDocument {
  title: string;
  url: string | null;
  /** Plain text; blank lines separate paragraphs. */
  text: string;
}

const insertChunks = statement(
  "chunks_insert",
  `insert into chunks (document_id, position, tenant_id, text, search)
   select $1, c.position, $2, c.text,
     setweight(to_tsvector('english', $3), 'A') || setweight(to_tsvector('english', c.text), 'B')
   from unnest($4::text[]) with ordinality as c (text, position)`,
);

/** Adds a document and makes its passages searchable, in one transaction: it is found as soon as it is there. */
export async function createDocument(ctx: Ctx, input: CreateDocument): Promise<Document> {
  return transactEntities(ctx, async (em, tx) => {
    const document = em.create(DocumentEntity, {
      id: ctx.services.newId("doc"),
      tenantId: ctx.tenantId,
      title: input.title,
      url: input.url,
      text: input.text,
      status: "ready",
      error: null,
      createdAt: new Date(ctx.services.clock()),
    });
    await em.flush();
    await tx.query(insertChunks, [uuidOf(document.id), uuidOf(ctx.tenantId), input.title, splitPassages(input.text)]);
    const created = toDocument(document);
    const target = { kind: "document", id: document.id };
    await audit(ctx, tx, { action: "document.created", target, after: { ...created } });
    return created;
  });
}
