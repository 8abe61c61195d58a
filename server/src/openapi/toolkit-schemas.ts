/** Toolkits, tools and connections, for the OpenAPI document. Each is held to its type in `protocol/`. */
import { z } from "@hono/zod-openapi";
import type {
  Connection,
  ConnectionLink,
  InstalledToolkit,
  Tool,
  ToolkitHealth,
  ToolTest,
} from "@agent-engine/protocol/toolkits.ts";

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
    toolsChangedAt: time.nullable().openapi({
      description: "When the other side said that its tools are others than these. Refreshing asks for them.",
    }),
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

const count = z.int();

export const toolkitHealthSchema: z.ZodType<ToolkitHealth> = z
  .object({
    toolkitId: id("toolkit").nullable().openapi({ description: "Null: built in, part of an agent, or removed." }),
    kind: z.enum(["http", "openapi", "mcp", "composio"]).nullable(),
    name: z.string(),
    title: z.string(),
    since: time.openapi({ description: "From when calls count; the newest 2,000 do." }),
    until: time,
    calls: count.openapi({ description: "Calls that were made, however often each was tried." }),
    succeeded: count,
    failed: count.openapi({ description: "Calls whose last attempt failed." }),
    underWay: count,
    successRate: z.number().nullable().openapi({ description: "0 to 1; null when no call has ended." }),
    failures: z.record(z.string(), count).openapi({ description: "Failed attempts by code." }),
    latencyMs: z
      .object({ p50: count.nullable(), p95: count.nullable() })
      .openapi({ description: "Of answered calls." }),
    rateLimit: z
      .object({
        isLimited: z.boolean(),
        until: time.nullable(),
        by: z.enum(["retry-after"]).nullable(),
        saidAt: time,
      })
      .nullable()
      .openapi({ description: "What the other side last said of it within a day." }),
    lastFailure: z
      .object({
        at: time,
        tool: z.string(),
        code: z.string(),
        detail: z.string(),
        advice: z.string(),
        requestId: z.string().nullable(),
      })
      .nullable()
      .openapi({ description: "Within a day." }),
    circuits: z
      .array(
        z.object({ host: z.string(), since: time, retryAt: time, failures: count, code: z.string(), workers: count }),
      )
      .openapi({ description: "Open ones: until `retryAt` nothing is sent to the host." }),
    connections: z
      .object({ initiated: count, active: count, expired: count, failed: count, revoked: count })
      .nullable()
      .openapi({ description: "Accounts by status, counted to 10,000." }),
  })
  .openapi("ToolkitHealth");

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
