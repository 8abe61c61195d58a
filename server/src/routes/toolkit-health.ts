import { getToolkitHealth, listToolkitHealth } from "@agent-engine/core/toolkits/health/read-health.ts";
import { z } from "zod";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { toolkitHealthSchema } from "../openapi/toolkit-schemas.ts";

const tag = "Toolkits";
const read = { scope: "toolkits:read", visitor: false } as const;
const window = z.enum(["15m", "1h", "24h"]).optional();

export function toolkitHealthRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/toolkits/health",
      tag,
      summary: "How well all toolkits are, by name",
      description:
        "Of the calls of runs in the last hour, or in `window`: success rate, failures by code, latency, rate limit, open circuits. Installed toolkits, and all others that were called.",
      access: read,
      query: pageQuery.extend({ window }),
      status: 200,
      answer: pageSchema(toolkitHealthSchema),
    },
    ({ ctx, query }) => listToolkitHealth(ctx, query, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/toolkits/{toolkitId}/health",
      tag,
      summary: "How well a toolkit is",
      access: read,
      query: z.object({ window }),
      status: 200,
      answer: toolkitHealthSchema,
    },
    ({ ctx, params, query }) => getToolkitHealth(ctx, { toolkitId: params.toolkitId, ...query }),
  );
}
