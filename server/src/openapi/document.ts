import type { OpenAPIHono } from "@hono/zod-openapi";
import { sessionCookieName } from "@agent-engine/core/members/session-cookie.ts";
import type { AppEnv } from "../http/request.ts";

const DESCRIPTION = `Agents that answer, act and stream, with one append-only event log per conversation.

**Credentials.** \`Authorization: Bearer sk_…\`: a tenant's secret key, from servers only, limited by its scopes.
\`Authorization: Bearer <visitor token>\`: from \`POST /v1/visitor-sessions\`, for pages. A member's session cookie, from
\`POST /api/auth/sign-in/email\`: for the console; who is a member of several tenants names one in \`X-Tenant-Id\`.

**Lists** take \`limit\` and \`cursor\`, newest first. **Events** ascend; a reader's cursor is the last \`seq\` it applied.

**Every POST** takes an \`Idempotency-Key\`: the same key and body answer the saved response.

**Errors** are problem documents (RFC 9457) with a stable \`code\` and a \`detail\` that says what to do.`;

/** The OpenAPI 3.1 document of the declared routes. */
export function openApiDocument(
  app: OpenAPIHono<AppEnv>,
  { publicUrl, isSecure }: { publicUrl: string | null; isSecure: boolean },
) {
  app.openAPIRegistry.registerComponent("securitySchemes", "secretKey", {
    type: "http",
    scheme: "bearer",
    description: "A secret key, `sk_…`.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "visitorToken", {
    type: "http",
    scheme: "bearer",
    description: "A visitor token.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "memberSession", {
    type: "apiKey",
    in: "cookie",
    name: sessionCookieName(isSecure),
    description:
      "A member's session, from `POST /api/auth/sign-in/email`. Requests that change something name their `Origin`.",
  });
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Agent Engine",
      version: "1",
      description: DESCRIPTION,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
    },
    servers: [{ url: publicUrl ?? "/" }],
  });
}
