import { changeToolkit } from "@agent-engine/core/toolkits/installed/change-toolkit.ts";
import { deleteToolkit } from "@agent-engine/core/toolkits/installed/delete-toolkit.ts";
import { installToolkit } from "@agent-engine/core/toolkits/installed/install-toolkit.ts";
import { getToolkit, listToolkits, listTools } from "@agent-engine/core/toolkits/installed/read-toolkits.ts";
import { testTool } from "@agent-engine/core/toolkits/installed/test-tool.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { toolkitRequest, toolkitUpdateRequest, toolTestRequest } from "@agent-engine/protocol/schemas/toolkits.ts";
import { z } from "zod";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { toolkitSchema, toolSchema, toolTestSchema } from "../openapi/toolkit-schemas.ts";
import { openapiPreviewRoutes } from "./openapi-preview.ts";
import { toolkitHealthRoutes } from "./toolkit-health.ts";

const tag = "Toolkits";
const read = { scope: "toolkits:read", visitor: false } as const;
const write = { scope: "toolkits:write", visitor: false } as const;

const toolsQuery = pageQuery.extend({
  toolkitId: z.string().max(100).optional(),
  search: z.string().max(200).optional(),
});

export function toolkitRoutes(api: Api, kinds: KindDeps): void {
  openapiPreviewRoutes(api, kinds);
  toolkitHealthRoutes(api);

  api.route(
    {
      method: "get",
      path: "/v1/toolkits",
      tag,
      summary: "List installed toolkits, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(toolkitSchema),
    },
    ({ ctx, query }) => listToolkits(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/toolkits",
      tag,
      summary: "Install a toolkit",
      description:
        "Asks the other side what there is and keeps it as the first revision. `problems` says what was left out or repaired. An agent uses it by naming its id in `toolkits`.",
      access: write,
      body: toolkitRequest,
      transaction: "none",
      status: 201,
      answer: toolkitSchema,
    },
    ({ ctx, body }) => installToolkit(ctx, kinds, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/toolkits/{toolkitId}",
      tag,
      summary: "Read a toolkit",
      access: read,
      status: 200,
      answer: toolkitSchema,
    },
    ({ ctx, params }) => getToolkit(ctx, params.toolkitId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/toolkits/{toolkitId}",
      tag,
      summary: "Change a toolkit",
      description:
        "`settings` replaces them whole; send a mask back to keep a secret. What differs is a new revision: agents use it from when they are next published, a new credential at once.",
      access: write,
      body: toolkitUpdateRequest,
      status: 200,
      answer: toolkitSchema,
    },
    ({ ctx, params, body }) => changeToolkit(ctx, kinds, { toolkitId: params.toolkitId, ...body }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/toolkits/{toolkitId}/refresh",
      tag,
      summary: "Ask anew which tools there are",
      access: write,
      transaction: "none",
      status: 200,
      answer: toolkitSchema,
    },
    ({ ctx, params }) => changeToolkit(ctx, kinds, { toolkitId: params.toolkitId }, "toolkit.refreshed"),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/toolkits/{toolkitId}",
      tag,
      summary: "Remove a toolkit",
      description: "Answers 409 while an agent names it or an account is connected for it.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteToolkit(ctx, params.toolkitId),
  );

  api.route(
    {
      method: "get",
      path: "/v1/tools",
      tag,
      summary: "List the tools of installed toolkits, by name",
      access: read,
      query: toolsQuery,
      status: 200,
      answer: pageSchema(toolSchema),
    },
    ({ ctx, query }) => listTools(ctx, query, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/tools/{toolId}/test",
      tag,
      summary: "Try a tool",
      description:
        "One real call with the latest settings: a tool that changes something changes it. Answers what a model would be given, or why it failed and what to do.",
      access: write,
      body: toolTestRequest,
      transaction: "none",
      status: 200,
      answer: toolTestSchema,
    },
    ({ ctx, params, body }) => testTool(ctx, kinds, { toolId: params.toolId, ...body }),
  );
}
