import { createProviderKey } from "@agent-engine/core/models/create-provider-key.ts";
import { deleteProviderKey } from "@agent-engine/core/models/delete-provider-key.ts";
import { listProviderKeys } from "@agent-engine/core/models/list-provider-keys.ts";
import { providerKeyRequest } from "@agent-engine/protocol/schemas/provider-keys.ts";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { providerKeySchema } from "../openapi/security-schemas.ts";

const tag = "Provider keys";
const read = { scope: "provider-keys:read", visitor: false } as const;
const write = { scope: "provider-keys:write", visitor: false } as const;

export function providerKeyRoutes(api: Api): void {
  api.route(
    {
      method: "post",
      path: "/v1/provider-keys",
      tag,
      summary: "Give your own key of a model vendor",
      description:
        "It is used instead of the installation's from the next model call on, stored sealed, and never answered again. Of several for one provider the newest is used: to rotate, add the new one, then delete the old one. An `openai-compatible` key is sent to its `baseUrl` and nowhere else.",
      access: write,
      body: providerKeyRequest,
      status: 201,
      answer: providerKeySchema,
    },
    ({ ctx, body }) => createProviderKey(ctx, body),
  );

  api.route(
    {
      method: "get",
      path: "/v1/provider-keys",
      tag,
      summary: "List your keys of model vendors, newest first",
      access: read,
      query: pageQuery,
      status: 200,
      answer: pageSchema(providerKeySchema),
    },
    ({ ctx, query }) => listProviderKeys(ctx, pageRequest(query)),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/provider-keys/{providerKeyId}",
      tag,
      summary: "Forget a key of a model vendor",
      description: "Within seconds no run uses it any more, not even one under way.",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteProviderKey(ctx, params.providerKeyId),
  );
}
