import { registerClientTools } from "@agent-engine/core/client-tools/register-client-tools.ts";
import { clientToolsRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { clientToolsSchema } from "../openapi/schemas.ts";

export function clientToolRoutes(api: Api): void {
  api.route(
    {
      method: "put",
      path: "/v1/conversations/{conversationId}/client-tools",
      tag: "Conversations",
      summary: "Offer the tools of a page on which the chat is open",
      description:
        "For the visitor's browser alone. What is offered is forgotten after a minute, so a page says it again every 25 seconds; an empty list takes it away. A tool that no model could call (its name, its description, a schema) is left out, and `problems` says why; the others are offered. The agent calls `page_<name>`; the call is an interrupt `client_tool`, which the page named in it answers.",
      access: { scope: "conversations:write", visitor: true },
      body: clientToolsRequest,
      status: 200,
      answer: clientToolsSchema,
    },
    ({ ctx, params, body }) => registerClientTools(ctx, { ...body, conversationId: params.conversationId }),
  );
}
