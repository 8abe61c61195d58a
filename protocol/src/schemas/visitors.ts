/** Zod schemas of the requests about visitors, how sites identify them, and how long a tenant keeps what they say. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";

export const siteIdentityRequest = z.strictObject({
  /** `HS256` is set by making a secret. */
  algorithm: z.enum(["RS256", "ES256", "EdDSA"]),
  jwksUrl: z.string().min(1).max(2_000),
});

const MAX_RETENTION_DAYS = 3_650;

export const tenantUpdateRequest = z
  .strictObject({
    name: z
      .string()
      .max(200)
      .transform((value) => cleanText(value).trim())
      .refine((value) => value !== "", "must not be empty"),
    /** Null: conversations are kept. */
    retentionDays: z.int().min(1).max(MAX_RETENTION_DAYS).nullable(),
  })
  .partial();
