/** What is kept, sealed, of an account at an MCP server's authorization server: between link and callback, and after. */
import { z } from "zod";

const client = z.looseObject({
  client_id: z.string(),
  client_secret: z.string().optional(),
  token_endpoint_auth_method: z.string().optional(),
  registration_client_uri: z.string().optional(),
  registration_access_token: z.string().optional(),
});

const secret = z.object({
  /** The authorization server, and what it said of itself. */
  issuer: z.string(),
  metadata: z.looseObject({
    authorization_endpoint: z.string(),
    token_endpoint: z.string(),
    response_types_supported: z.array(z.string()),
    issuer: z.string(),
    revocation_endpoint: z.string().optional(),
    token_endpoint_auth_methods_supported: z.array(z.string()).optional(),
  }),
  client,
  /** What the tokens are for (RFC 8707); null where the server publishes no such thing. */
  resource: z.string().nullable(),
  /** Until the callback. */
  codeVerifier: z.string().optional(),
  tokens: z
    .object({
      access: z.string(),
      refresh: z.string().optional(),
      /** ISO 8601 UTC; null when the server did not say. */
      expiresAt: z.string().nullable(),
      scope: z.string().optional(),
    })
    .optional(),
});

export type OAuthSecret = z.output<typeof secret>;

/** Null when there is none, or when it cannot be read. */
export function readOAuthSecret(stored: string | null): OAuthSecret | null {
  if (stored === null) return null;
  try {
    return secret.safeParse(JSON.parse(stored)).data ?? null;
  } catch {
    return null;
  }
}

export function accessTokenOf(stored: string | null): string | null {
  return readOAuthSecret(stored)?.tokens?.access ?? null;
}
