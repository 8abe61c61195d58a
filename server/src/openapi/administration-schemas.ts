/** The resources that administer a tenant, for the OpenAPI document. Each is held to its type in `protocol/`. */
import { z } from "@hono/zod-openapi";
import type {
  ApiKey,
  Invitation,
  Me,
  Member,
  NewApiKey,
  RealtimeToken,
  Site,
  Tenant,
} from "@agent-engine/protocol/administration.ts";
import { API_KEY_SCOPES, ROLES } from "@agent-engine/core/members/permissions.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });
const role = z.enum(ROLES);
const scopes = z.array(z.string().openapi({ enum: [...API_KEY_SCOPES] }));

export const memberSchema: z.ZodType<Member> = z
  .object({
    id: id("member"),
    email: z.string(),
    name: z.string().nullable(),
    role,
    status: z.enum(["invited", "active"]),
    invitationExpiresAt: time.nullable(),
    createdAt: time,
    joinedAt: time.nullable(),
  })
  .openapi("Member");

export const invitationSchema: z.ZodType<Invitation> = z
  .object({
    tenant: z.object({ id: id("tenant"), name: z.string() }),
    email: z.string(),
    role,
    expiresAt: time,
    hasAccount: z.boolean(),
  })
  .openapi("Invitation");

export const realtimeTokenSchema: z.ZodType<RealtimeToken> = z
  .object({ token: z.string(), expiresAt: time })
  .openapi("RealtimeToken");

export const meSchema: z.ZodType<Me> = z
  .object({
    user: z.object({ id: id("user"), email: z.string(), name: z.string() }),
    member: z.object({ id: id("member"), tenantId: id("tenant"), role }).nullable(),
    tenants: z.array(z.object({ id: id("tenant"), name: z.string(), role })),
    permissions: z.array(z.string()),
  })
  .openapi("Me");

export const tenantSchema: z.ZodType<Tenant> = z.object({ id: id("tenant"), name: z.string() }).openapi("Tenant");

const apiKeyFields = {
  id: id("key"),
  name: z.string(),
  prefix: z.string().openapi({ example: "sk_Ab3dE" }),
  scopes,
  expiresAt: time.nullable(),
  lastUsedAt: time.nullable(),
  previousKeyExpiresAt: time.nullable(),
  createdAt: time,
};
export const apiKeySchema: z.ZodType<ApiKey> = z.object(apiKeyFields).openapi("ApiKey");
export const newApiKeySchema: z.ZodType<NewApiKey> = z
  .object({ ...apiKeyFields, key: z.string().openapi({ description: "The key itself, shown this once." }) })
  .openapi("NewApiKey");

export const siteSchema: z.ZodType<Site> = z
  .object({
    id: id("site"),
    name: z.string(),
    agentId: id("agent"),
    publishableKey: z.string(),
    previousKeyExpiresAt: time.nullable(),
    allowedOrigins: z.array(z.string()),
    theme: z.record(z.string(), z.string()),
    challenge: z.object({ kind: z.literal("proof_of_work"), difficulty: z.int() }).nullable(),
    createdAt: time,
  })
  .openapi("Site");
