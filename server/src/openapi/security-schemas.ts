/** The audit log and a tenant's own keys, for the OpenAPI document. Each is held to its type in `protocol/`. */
import { z } from "@hono/zod-openapi";
import type { AuditEntry, AuditVerdict } from "@agent-engine/protocol/audit-log.ts";
import type { ProviderKey } from "@agent-engine/protocol/provider-keys.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const hash = z.string().openapi({ pattern: "^[0-9a-f]{64}$" });
const fields = z.record(z.string(), z.unknown()).nullable();

export const providerKeySchema: z.ZodType<ProviderKey> = z
  .object({
    id: z.string().openapi({ pattern: "^pkey_[0-9a-f]{32}$", example: "pkey_0198c0de00007000800000000000cafe" }),
    name: z.string(),
    provider: z.enum(["openai", "anthropic", "openai-compatible"]),
    baseUrl: z.string().nullable(),
    last4: z.string(),
    createdAt: time,
  })
  .openapi("ProviderKey");

export const auditEntrySchema: z.ZodType<AuditEntry> = z
  .object({
    seq: z.int().openapi({ description: "1..n without gaps in the tenant." }),
    at: time,
    actor: z.object({ kind: z.enum(["member", "secret_key", "visitor", "platform"]), id: z.string().nullable() }),
    action: z.string().openapi({ example: "agent.published" }),
    target: z.object({ kind: z.string(), id: z.string() }),
    before: fields,
    after: fields,
    correlationId: z.string(),
    ip: z.string().nullable(),
    previousHash: hash,
    hash,
  })
  .openapi("AuditEntry");

export const auditVerdictSchema: z.ZodType<AuditVerdict> = z
  .object({
    valid: z.boolean(),
    isComplete: z.boolean(),
    entries: z.int(),
    lastHash: hash,
    problem: z
      .object({
        seq: z.int(),
        kind: z.enum(["changed", "missing", "unlinked", "unexpected", "rewritten"]),
        detail: z.string(),
      })
      .nullable(),
  })
  .openapi("AuditVerdict");
