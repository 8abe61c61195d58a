import { createSite } from "@agent-engine/core/sites/create-site.ts";
import { deleteSite } from "@agent-engine/core/sites/delete-site.ts";
import { getSite } from "@agent-engine/core/sites/get-site.ts";
import { listSites } from "@agent-engine/core/sites/list-sites.ts";
import { rotateSiteKey } from "@agent-engine/core/sites/rotate-site-key.ts";
import { updateSite } from "@agent-engine/core/sites/update-site.ts";
import { rotateRequest, siteRequest, siteUpdateRequest } from "@agent-engine/protocol/schemas/administration.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { siteSchema } from "../openapi/administration-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "Sites";
const read = { scope: "sites:read", visitor: false } as const;
const write = { scope: "sites:write", visitor: false } as const;

export function siteRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/sites",
      tag,
      summary: "List sites, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(siteSchema),
    },
    ({ ctx, query }) => listSites(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/sites",
      tag,
      summary: "Make a site",
      description: "A place where the widget is embedded. Pages of its `allowedOrigins` may use its publishable key.",
      access: write,
      body: siteRequest,
      status: 201,
      answer: siteSchema,
      transaction: "entities",
    },
    ({ ctx, body }) => createSite(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/sites/{siteId}",
      tag,
      summary: "Read a site",
      access: read,
      status: 200,
      answer: siteSchema,
    },
    ({ ctx, params }) => getSite(ctx, params.siteId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/sites/{siteId}",
      tag,
      summary: "Change a site",
      description: "Replaces the fields it names. Every server goes by changed origins within seconds.",
      access: write,
      body: siteUpdateRequest,
      status: 200,
      answer: siteSchema,
    },
    ({ ctx, params, body }) => updateSite(ctx, { siteId: params.siteId, change: body }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/sites/{siteId}/rotate",
      tag,
      summary: "Replace a site's publishable key",
      description:
        "Pages with the one it replaces work for `overlapSeconds` more: a day unless said otherwise, at most a week.",
      access: write,
      body: rotateRequest,
      status: 200,
      answer: siteSchema,
      transaction: "entities",
    },
    ({ ctx, params, body }) => rotateSiteKey(ctx, { siteId: params.siteId, ...body }),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/sites/{siteId}",
      tag,
      summary: "Delete a site",
      description: "Its key opens no session any more. Its conversations stay.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteSite(ctx, params.siteId),
  );
}
