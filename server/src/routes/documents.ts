import { z } from "@hono/zod-openapi";
import { createDocument } from "@agent-engine/core/knowledge/create-document.ts";
import { getDocument } from "@agent-engine/core/knowledge/get-document.ts";
import { listDocuments } from "@agent-engine/core/knowledge/list-documents.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { documentSchema, pageSchema } from "../openapi/schemas.ts";

const tag = "Documents";

const filled = (max: number) =>
  z
    .string()
    .max(max)
    .transform(cleanText)
    .refine((value) => value.trim() !== "", "must not be empty");

const documentRequest = z.strictObject({
  title: filled(500),
  url: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .nullable()
    .default(null),
  text: filled(900_000),
});

export function documentRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/documents",
      tag,
      summary: "Add a document for agents to quote",
      access: { scope: "documents:write", visitor: false },
      body: documentRequest,
      status: 201,
      answer: documentSchema,
      transaction: "entities",
    },
    ({ ctx, body }) => createDocument(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/documents",
      tag,
      summary: "List documents, newest first",
      access: { scope: "documents:read", visitor: false },
      query: pageQuery,
      status: 200,
      answer: pageSchema(documentSchema),
    },
    ({ ctx, query }) => listDocuments(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/documents/{documentId}",
      tag,
      summary: "Read a document's status",
      access: { scope: "documents:read", visitor: false },
      status: 200,
      answer: documentSchema,
    },
    ({ ctx, params }) => getDocument(ctx, params.documentId),
  );
}
