import { getTenant, updateTenant } from "@agent-engine/core/tenancy/tenant-settings.ts";
import { tenantUpdateRequest } from "@agent-engine/protocol/schemas/visitors.ts";
import type { Api } from "../http/api.ts";
import { tenantSettingsSchema } from "../openapi/visitor-schemas.ts";

const tag = "Tenant";

export function tenantRoutes(api: Api): void {
  api.route(
    {
      method: "get",
      path: "/v1/tenant",
      tag,
      summary: "Read the tenant's settings",
      access: { scope: "tenant:read", visitor: false },
      status: 200,
      answer: tenantSettingsSchema,
    },
    ({ ctx }) => getTenant(ctx),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/tenant",
      tag,
      summary: "Change the tenant's settings",
      description:
        "Replaces the fields it names. `retentionDays`: conversations in which nothing happened for so many days are deleted as a whole, with their forks; null keeps them.",
      access: { scope: "tenant:write", visitor: false },
      body: tenantUpdateRequest,
      status: 200,
      answer: tenantSettingsSchema,
    },
    ({ ctx, body }) => updateTenant(ctx, body),
  );
}
