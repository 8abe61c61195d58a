/** Toolkits, tools and connections, for the OpenAPI document. Each is held to its type in `protocol/`. */
import { z } from "@hono/zod-openapi";
import type { Connection, ConnectionLink, InstalledToolkit, Tool, ToolTest } from "@agent-engine/protocol/toolkits.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });
const fields = z.record(z.string(), z.unknown());

export const toolkitSchema: z.ZodType<InstalledToolkit> = z
  .object({
    id: id("toolkit"),
    kind: z.enum(["http", "openapi", "mcp", "composio"]),
    name: z.string().openapi({ description: "Namespace of its tools' names." }),
    title: z.string(),
    revision: z.int().openapi({ description: "Publishing an agent pins the latest." }),
    settings: fields.openapi({ description: "Secrets are masked." }),
    toolCount: z.int(),
    problems: z.array(z.string()).openapi({ description: "What was left out or repaired, and why." }),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Toolkit");

export const toolSchema: z.ZodType<Tool> = z
  .object({
    id: id("tool"),
    toolkitId: id("toolkit"),
    name: z.string().openapi({ description: "As models call it." }),
    remote: z.string(),
    description: z.string(),
    parameters: fields,
    effect: z.enum(["read", "idempotent", "write"]),
    connection: z.enum(["none", "tenant", "visitor"]),
    scopes: z.array(z.string()),
    visibility: z.object({ arguments: z.boolean(), results: z.boolean() }),
  })
  .openapi("Tool");

export const toolTestSchema: z.ZodType<ToolTest> = z
  .object({
    ok: z.boolean(),
    content: z.string().nullable(),
    failure: z
      .object({ code: z.string(), detail: z.string(), advice: z.string(), requestId: z.string().nullable() })
      .nullable(),
    durationMs: z.int(),
  })
  .openapi("ToolTest");

export const connectionSchema: z.ZodType<Connection> = z
  .object({
    id: id("conn"),
    toolkitId: id("toolkit"),
    visitorId: id("visitor").nullable(),
    label: z.string().nullable(),
    status: z.enum(["initiated", "active", "expired", "failed", "revoked"]),
    isDefault: z.boolean(),
    scopes: z.array(z.string()),
    error: z.string().nullable(),
    expiresAt: time.nullable(),
    createdAt: time,
    updatedAt: time,
  })
  .openapi("Connection");

export const connectionLinkSchema: z.ZodType<ConnectionLink> = z
  .object({ connectionId: id("conn"), url: z.string(), expiresAt: time })
  .openapi("ConnectionLink");
