import { deleteSiteIdentity } from "@agent-engine/core/sites/delete-site-identity.ts";
import { getSiteIdentity } from "@agent-engine/core/sites/get-site-identity.ts";
import { rotateIdentitySecret } from "@agent-engine/core/sites/rotate-identity-secret.ts";
import { setSiteIdentity } from "@agent-engine/core/sites/set-site-identity.ts";
import { rotateRequest } from "@agent-engine/protocol/schemas/administration.ts";
import { siteIdentityRequest } from "@agent-engine/protocol/schemas/visitors.ts";
import type { Api } from "../http/api.ts";
import { newIdentitySecretSchema, siteIdentitySchema } from "../openapi/visitor-schemas.ts";

const tag = "Sites";
const read = { scope: "sites:read", visitor: false } as const;
const write = { scope: "sites:write", visitor: false } as const;

export function siteIdentityRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/sites/{siteId}/identity",
      tag,
      summary: "Read how a site identifies visitors",
      access: read,
      status: 200,
      answer: siteIdentitySchema,
    },
    ({ ctx, params }) => getSiteIdentity(ctx, params.siteId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/sites/{siteId}/identity",
      tag,
      summary: "Identify visitors by tokens signed with your own key",
      description:
        "Your server signs with `algorithm`, and your public keys are at `jwksUrl`. Replaces a secret: tokens signed with it are refused from now on.",
      access: write,
      body: siteIdentityRequest,
      status: 200,
      answer: siteIdentitySchema,
    },
    ({ ctx, params, body }) => setSiteIdentity(ctx, { siteId: params.siteId, ...body }),
  );

  api.route(
    {
      method: "post",
      path: "/v1/sites/{siteId}/identity-secret",
      tag,
      summary: "Make or replace a site's identity secret",
      description:
        "Your server signs identity tokens with it (HS256). Shown this once. The one it replaces is good for `overlapSeconds` more: a day unless said otherwise, at most a week.",
      access: write,
      body: rotateRequest,
      status: 201,
      answer: newIdentitySecretSchema,
      isSecret: true,
    },
    ({ ctx, params, body }) => rotateIdentitySecret(ctx, { siteId: params.siteId, ...body }),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/sites/{siteId}/identity",
      tag,
      summary: "Identify a site's visitors no more",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteSiteIdentity(ctx, params.siteId),
  );
}
