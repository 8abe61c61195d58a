import { z } from "@hono/zod-openapi";
import type { OpenapiPreview } from "@agent-engine/core/toolkits/openapi/preview-openapi.ts";

const auth = z.discriminatedUnion("type", [
  z.object({ type: z.literal("none") }),
  z.object({ type: z.literal("apiKey"), in: z.enum(["header", "query", "cookie"]), name: z.string() }),
  z.object({ type: z.literal("bearer") }),
  z.object({ type: z.literal("basic") }),
  z.object({
    type: z.literal("oauth2_client_credentials"),
    tokenUrl: z.string(),
    scope: z.string().exactOptional(),
  }),
]);

const operation = z.object({
  id: z.string().openapi({ description: "What `settings.operations` names it by." }),
  method: z.string(),
  path: z.string(),
  summary: z.string(),
  effect: z.enum(["read", "idempotent", "write"]),
  problem: z.string().exactOptional().openapi({ description: "Why it cannot be a tool." }),
});

export const openapiPreviewSchema: z.ZodType<OpenapiPreview> = z
  .object({
    title: z.string(),
    baseUrl: z.string().nullable().openapi({ description: "The document's first server." }),
    auth: auth.openapi({ description: "As `settings.auth`, without what is secret." }),
    operations: z.array(operation),
  })
  .openapi("OpenapiPreview");
