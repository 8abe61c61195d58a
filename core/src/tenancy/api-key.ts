import { createHash, randomBytes } from "node:crypto";

/** What a secret key may do. `*` is everything. */
export const API_KEY_SCOPES = [
  "*",
  "agents:read",
  "agents:write",
  "runs:read",
  "runs:write",
  "conversations:read",
  "conversations:write",
  "documents:read",
  "documents:write",
] as const;
export type ApiKeyScope = (typeof API_KEY_SCOPES)[number];

/** A new secret key: 256 random bits, shown once; only its hash is kept. */
export function newSecretKey(): string {
  return `sk_${randomBytes(32).toString("base64url")}`;
}

/** A new publishable key: it names a site in a page's source and opens nothing but visitor sessions. */
export function newPublishableKey(): string {
  return `pk_${randomBytes(18).toString("base64url")}`;
}

/** Keys are random, so a plain hash suffices: there is nothing to guess by dictionary. */
export function hashSecretKey(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
