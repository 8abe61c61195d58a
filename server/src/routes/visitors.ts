import { z } from "@hono/zod-openapi";
import { eraseVisitor } from "@agent-engine/core/visitors/erase-visitor.ts";
import { exportVisitor } from "@agent-engine/core/visitors/export-visitor.ts";
import { getVisitor } from "@agent-engine/core/visitors/get-visitor.ts";
import { listVisitors } from "@agent-engine/core/visitors/list-visitors.ts";
import { revokeSessions } from "@agent-engine/core/visitors/revoke-sessions.ts";
import type { Revocations } from "@agent-engine/core/visitors/revocations.ts";
import type { Api } from "../http/api.ts";
import { exportDocument, textResponse } from "../http/export-document.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { erasureSchema, visitorProfileSchema } from "../openapi/visitor-schemas.ts";

const tag = "Visitors";
const read = { scope: "visitors:read", visitor: false } as const;
const write = { scope: "visitors:write", visitor: false } as const;

const visitorsQuery = pageQuery.extend({
  externalId: z.string().max(255).optional().openapi({ description: "`sub` of their identity tokens." }),
});

/** Whoever ends sessions finds them ended here when they are answered; other servers hear of it. */
export function visitorRoutes(api: Api, revocations: Pick<Revocations, "refresh">): void {
  api.route(
    {
      method: "get",
      path: "/v1/visitors",
      tag,
      summary: "List visitors, newest first",
      access: read,
      query: visitorsQuery,
      status: 200,
      answer: pageSchema(visitorProfileSchema),
    },
    ({ ctx, query }) => listVisitors(ctx, { ...pageRequest(query), externalId: query.externalId }),
  );

  api.route(
    {
      method: "get",
      path: "/v1/visitors/{visitorId}",
      tag,
      summary: "Read a visitor",
      description: "The id of an anonymous visitor who was identified later answers who they turned out to be.",
      access: read,
      status: 200,
      answer: visitorProfileSchema,
    },
    ({ ctx, params }) => getVisitor(ctx, params.visitorId),
  );

  api.stream(
    {
      method: "get",
      path: "/v1/visitors/{visitorId}/export",
      rate: "heavy",
      tag,
      summary: "Export everything about a visitor",
      access: read,
      streamed: {
        mediaType: "application/json",
        description:
          "One JSON document, `{ visitor, conversations: [{ …, schedules, runs, events }] }`: every event as it is stored, every tool call with its result, copies that staff made included.",
      },
    },
    async ({ ctx, params }) => {
      const { visitorId } = params;
      return textResponse(exportDocument(exportVisitor(ctx, visitorId)), {
        "content-type": "application/json",
        "content-disposition": `attachment; filename="visitor.json"`,
      });
    },
  );

  api.route(
    {
      method: "post",
      path: "/v1/visitors/{visitorId}/revoke-sessions",
      tag,
      summary: "End every session of a visitor",
      description: "Their tokens are refused and their connections dropped, on all their devices, within 5 seconds.",
      access: write,
      status: 200,
      answer: visitorProfileSchema,
    },
    ({ ctx, params }) => revokeSessions(ctx, params.visitorId),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/visitors/{visitorId}",
      tag,
      summary: "Erase a visitor",
      description:
        "Takes what they said, what was done for them and who they were out of every table. Their conversations keep their numbering, with every event hidden. Cannot be undone; may be repeated. `erasing`: it goes on in the background.",
      access: write,
      status: 200,
      answer: erasureSchema,
    },
    async ({ ctx, params }) => {
      const erasure = await eraseVisitor(ctx, params.visitorId);
      await revocations.refresh();
      return erasure;
    },
  );
}
