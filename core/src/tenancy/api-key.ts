import { createHash, randomBytes } from "node:crypto";

/** A new secret key: 256 random bits, shown once; only its hash is kept. */
export function newSecretKey(): string {
  return `sk_${randomBytes(32).toString("base64url")}`;
}

/** As much of a key as may be shown, to recognize it by. */
export function prefixOf(key: string): string {
  return key.slice(0, 8);
}

/** A new publishable key: it names a site in a page's source and opens nothing but visitor sessions. */
export function newPublishableKey(): string {
  return `pk_${randomBytes(18).toString("base64url")}`;
}

/** Keys are random, so a plain hash suffices: there is nothing to guess by dictionary. */
export function hashSecretKey(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
