/** Visitors, how sites identify them, and a tenant's settings, for the OpenAPI document. Held to `protocol/`. */
import { z } from "@hono/zod-openapi";
import type {
  Erasure,
  NewIdentitySecret,
  SiteIdentity,
  TenantSettings,
  VisitorProfile,
} from "@agent-engine/protocol/visitors.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });

export const visitorProfileSchema: z.ZodType<VisitorProfile> = z
  .object({
    id: id("visitor"),
    siteId: id("site").nullable(),
    externalId: z.string().nullable().openapi({ description: "`sub` of their identity tokens." }),
    name: z.string().nullable(),
    email: z.string().nullable(),
    traits: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
    identifiedAt: time.nullable(),
    createdAt: time,
  })
  .openapi("VisitorProfile");

export const erasureSchema: z.ZodType<Erasure> = z
  .object({ visitorId: id("visitor"), status: z.enum(["erased", "erasing"]) })
  .openapi("Erasure");

const identityFields = {
  algorithm: z.enum(["HS256", "RS256", "ES256", "EdDSA"]).nullable(),
  jwksUrl: z.string().nullable(),
  secretHint: z.string().nullable(),
  previousSecretExpiresAt: time.nullable(),
};
export const siteIdentitySchema: z.ZodType<SiteIdentity> = z.object(identityFields).openapi("SiteIdentity");
export const newIdentitySecretSchema: z.ZodType<NewIdentitySecret> = z
  .object({ ...identityFields, secret: z.string().openapi({ description: "The secret itself, shown this once." }) })
  .openapi("NewIdentitySecret");

export const tenantSettingsSchema: z.ZodType<TenantSettings> = z
  .object({ id: id("tenant"), name: z.string(), retentionDays: z.int().nullable() })
  .openapi("TenantSettings");
