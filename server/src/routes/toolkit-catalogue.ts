import { z } from "@hono/zod-openapi";
import { createCatalogue } from "@agent-engine/core/toolkits/composio/catalogue.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { catalogueToolkitSchema, catalogueToolSchema } from "../openapi/catalogue-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "Toolkits";
const read = { scope: "agents:read", visitor: false } as const;
const query = pageQuery.extend({
  search: z.string().max(200).optional().openapi({ description: "Words that must all be in its name or description." }),
});

/** Before the routes of single toolkits: `catalogue` is no id. */
export function toolkitCatalogueRoutes(api: Api, kinds: Pick<KindDeps, "composio" | "now" | "log">): void {
  const catalogue = createCatalogue(kinds);

  api.route(
    {
      method: "get",
      path: "/v1/toolkits/catalogue",
      tag,
      summary: "List what Composio offers",
      description: "From memory, renewed every ten minutes. 404 where this installation has no `COMPOSIO_API_KEY`.",
      access: read,
      query,
      status: 200,
      answer: pageSchema(catalogueToolkitSchema),
    },
    ({ query: asked }) => catalogue.toolkits({ ...pageRequest(asked), search: asked.search }),
  );

  api.route(
    {
      method: "get",
      path: "/v1/toolkits/catalogue/tools",
      tag,
      summary: "List the tools of a toolkit of Composio",
      description: "In its newest version. `settings.tools` of an installed toolkit chooses among their slugs.",
      access: read,
      query: query.extend({ toolkit: z.string().max(100).openapi({ description: "The toolkit's slug." }) }),
      status: 200,
      answer: pageSchema(catalogueToolSchema),
    },
    ({ query: asked }) => catalogue.tools(asked.toolkit, { ...pageRequest(asked), search: asked.search }),
  );
}
