/** Zod schemas of the requests about a tenant's own keys at model vendors. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";

export const providerKeyRequest = z.strictObject({
  name: z
    .string()
    .max(200)
    .transform((value) => cleanText(value).trim())
    .refine((value) => value !== "", "must not be empty")
    .optional(),
  provider: z.enum(["openai", "anthropic", "openai-compatible"]),
  apiKey: z
    .string()
    .min(8)
    .max(1_000)
    .regex(/^[\x21-\x7e]+$/, "must be printable ASCII without spaces"),
  baseUrl: z
    .url({ protocol: /^https?$/ })
    .max(2_000)
    .optional(),
});
