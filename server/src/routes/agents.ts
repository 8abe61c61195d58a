import { createAgent } from "@agent-engine/core/agents/create-agent.ts";
import { getAgent } from "@agent-engine/core/agents/get-agent.ts";
import { listAgents } from "@agent-engine/core/agents/list-agents.ts";
import { listAgentVersions } from "@agent-engine/core/agents/list-agent-versions.ts";
import { publishAgent } from "@agent-engine/core/agents/publish-agent.ts";
import { updateAgent } from "@agent-engine/core/agents/update-agent.ts";
import { agentCreateRequest, agentUpdateRequest } from "@agent-engine/protocol/schemas/requests.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { agentSchema, agentVersionSchema, pageSchema } from "../openapi/schemas.ts";

const tag = "Agents";
const read = { scope: "agents:read", visitor: false } as const;
const write = { scope: "agents:write", visitor: false } as const;

export function agentRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/agents",
      tag,
      summary: "Create an agent",
      description: "It starts as a draft; publish it before it can run.",
      access: write,
      body: agentCreateRequest,
      status: 201,
      answer: agentSchema,
      transaction: "entities",
    },
    ({ ctx, body: { name, ...config } }) => createAgent(ctx, { name, config }),
  );

  api.route(
    {
      method: "get",
      path: "/v1/agents",
      tag,
      summary: "List agents, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(agentSchema),
    },
    ({ ctx, query }) => listAgents(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "get",
      path: "/v1/agents/{agentId}",
      tag,
      summary: "Read an agent",
      access: read,
      status: 200,
      answer: agentSchema,
    },
    ({ ctx, params }) => getAgent(ctx, params.agentId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/agents/{agentId}",
      tag,
      summary: "Change an agent's draft",
      description: "Replaces the fields it names and leaves the others. Runs go on with the published version.",
      access: write,
      body: agentUpdateRequest,
      status: 200,
      answer: agentSchema,
    },
    ({ ctx, params, body: { name, ...config } }) =>
      updateAgent(ctx, { agentId: params.agentId, config, ...(name === undefined ? {} : { name }) }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/agents/{agentId}/publish",
      tag,
      summary: "Publish an agent's draft as its next version",
      access: write,
      status: 201,
      answer: agentVersionSchema,
      transaction: "entities",
    },
    ({ ctx, params }) => publishAgent(ctx, params.agentId),
  );

  api.route(
    {
      method: "get",
      path: "/v1/agents/{agentId}/versions",
      tag,
      summary: "List an agent's versions, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(agentVersionSchema),
    },
    ({ ctx, params, query }) => listAgentVersions(ctx, params.agentId, pageRequest(query)),
  );
}
