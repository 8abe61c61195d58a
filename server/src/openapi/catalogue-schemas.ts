import { z } from "@hono/zod-openapi";
import type { CatalogueTool, CatalogueToolkit } from "@agent-engine/protocol/catalogue.ts";

export const catalogueToolkitSchema: z.ZodType<CatalogueToolkit> = z
  .object({
    slug: z.string(),
    name: z.string(),
    description: z.string(),
    logoUrl: z.string().nullable(),
    categories: z.array(z.string()),
    toolCount: z.int(),
    version: z.string().nullable(),
    authSchemes: z.array(z.string()),
    isManaged: z.boolean(),
  })
  .openapi("CatalogueToolkit");

export const catalogueToolSchema: z.ZodType<CatalogueTool> = z
  .object({
    slug: z.string(),
    name: z.string(),
    description: z.string(),
    effect: z.enum(["read", "idempotent", "write"]),
    isImportant: z.boolean(),
    needsAccount: z.boolean(),
  })
  .openapi("CatalogueTool");
