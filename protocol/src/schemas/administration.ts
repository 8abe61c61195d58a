/** Zod schemas of the requests that administer a tenant. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";

const filled = (max: number) =>
  z
    .string()
    .max(max)
    .transform((value) => cleanText(value).trim())
    .refine((value) => value !== "", "must not be empty");
const role = z.enum(["owner", "admin", "operator", "viewer"]);

export const memberRequest = z.strictObject({
  email: z
    .string()
    .max(254)
    .transform((value) => value.trim().toLowerCase())
    .pipe(z.email("must be an e-mail address")),
  role,
});
export const memberUpdateRequest = z.strictObject({ role });

const invitationToken = z.string().min(1).max(200);
export const invitationRequest = z.strictObject({ token: invitationToken });
export const acceptInvitationRequest = z.strictObject({
  token: invitationToken,
  name: filled(200).optional(),
  password: z.string().max(1_000).optional(),
});

export const tenantRequest = z.strictObject({ name: filled(200) });

const WEEK_SECONDS = 7 * 86_400;
export const rotateRequest = z.strictObject({
  /** How long the old key goes on working. */
  overlapSeconds: z.int().min(0).max(WEEK_SECONDS).default(86_400),
});

export const apiKeyRequest = z.strictObject({
  name: filled(200),
  scopes: z.array(z.string().max(100)).min(1).max(100),
  expiresAt: z.iso.datetime({ offset: true }).nullable().default(null),
});

const theme = z
  .record(
    z
      .string()
      .max(64)
      .regex(/^[a-z][a-z0-9-]*$/, "must be names of lower-case letters, digits and hyphens"),
    z
      .string()
      .max(200)
      // A value may end up anywhere in a style: nothing that loads from elsewhere.
      .refine((value) => !/[;{}<>\\]|url\s*\(|image-set\s*\(|@/i.test(value), "must be plain CSS values without url()"),
  )
  .refine((value) => Object.keys(value).length <= 50, "must have at most 50 properties");

const siteFields = {
  name: filled(200),
  agentId: z.string().max(100),
  allowedOrigins: z.array(z.string().min(1).max(300)).max(100),
  theme,
  challenge: z
    .strictObject({ kind: z.literal("proof_of_work"), difficulty: z.int().min(8).max(24).default(17) })
    .nullable(),
};
export const siteRequest = z.strictObject({
  ...siteFields,
  allowedOrigins: siteFields.allowedOrigins.default([]),
  theme: theme.default({}),
  challenge: siteFields.challenge.default(null),
});
export const siteUpdateRequest = z.strictObject(siteFields).partial();
