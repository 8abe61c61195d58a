import { createApiKey } from "@agent-engine/core/tenancy/create-api-key.ts";
import { listApiKeys } from "@agent-engine/core/tenancy/list-api-keys.ts";
import { revokeApiKey } from "@agent-engine/core/tenancy/revoke-api-key.ts";
import { rotateApiKey } from "@agent-engine/core/tenancy/rotate-api-key.ts";
import { apiKeyRequest, rotateRequest } from "@agent-engine/protocol/schemas/administration.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { apiKeySchema, newApiKeySchema } from "../openapi/administration-schemas.ts";
import { pageSchema } from "../openapi/schemas.ts";

const tag = "API keys";
const read = { scope: "api-keys:read", visitor: false } as const;
const write = { scope: "api-keys:write", visitor: false } as const;

export function apiKeyRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/api-keys",
      tag,
      summary: "List secret keys, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(apiKeySchema),
    },
    ({ ctx, query }) => listApiKeys(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/api-keys",
      tag,
      summary: "Make a secret key",
      description: "The answer shows it this once. It may do no more than whoever makes it.",
      access: write,
      body: apiKeyRequest,
      status: 201,
      answer: newApiKeySchema,
      transaction: "entities",
      isSecret: true,
    },
    ({ ctx, body }) => createApiKey(ctx, body),
  );

  api.route(
    {
      method: "post",
      path: "/v1/api-keys/{apiKeyId}/rotate",
      tag,
      summary: "Replace a secret key",
      description:
        "Its id and scopes stay. The key it replaces works for `overlapSeconds` more: a day unless said otherwise, at most a week, 0 to end it now.",
      access: write,
      body: rotateRequest,
      status: 200,
      answer: newApiKeySchema,
      transaction: "entities",
      isSecret: true,
    },
    ({ ctx, params, body }) => rotateApiKey(ctx, { apiKeyId: params.apiKeyId, ...body }),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/api-keys/{apiKeyId}",
      tag,
      summary: "Revoke a secret key",
      description: "At once, with the one it replaced.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => revokeApiKey(ctx, params.apiKeyId),
  );
}
