import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";
import type { Secrets } from "../context.ts";

/** The cookies' common prefix; better-auth appends the name, and puts `__Secure-` before it over https. */
export const COOKIE_PREFIX = "agent-engine";

const SESSION = `${COOKIE_PREFIX}.session_token`;

export function sessionCookieName(isSecure: boolean): string {
  return isSecure ? `__Secure-${SESSION}` : SESSION;
}

const derived = new Map<string, string>();

/** The secret that signs cookies, of a master key: one key for one purpose. */
export function signingSecret(master: string): string {
  let secret = derived.get(master);
  if (secret === undefined) {
    secret = Buffer.from(hkdfSync("sha256", master, "", "agent-engine member session", 32)).toString("base64url");
    derived.set(master, secret);
  }
  return secret;
}

/** The session's token of a request's `Cookie` header, if any of the master keys signed it; null otherwise. */
export function sessionTokenOf(secrets: Secrets, isSecure: boolean, header: string | null | undefined): string | null {
  const cookie = cookiesOf(header).find(({ name }) => name === sessionCookieName(isSecure));
  return cookie ? (openSigned(secrets, cookie.value)?.payload ?? null) : null;
}

/** True when a request brings a session cookie, good or bad. */
export function hasSessionCookie(isSecure: boolean, header: string | null | undefined): boolean {
  return cookiesOf(header).some(({ name }) => name === sessionCookieName(isSecure));
}

/**
 * The header with our cookies signed by the first master key. better-auth verifies with one secret only; what an older
 * key signed would be no session to it, and rotating the master key would sign everybody out.
 */
export function resignCookies(secrets: Secrets, header: string): string {
  const [current] = secrets.keys;
  if (current === undefined) return header;
  return cookiesOf(header)
    .map(({ name, value }) => {
      if (!name.includes(`${COOKIE_PREFIX}.`)) return `${name}=${value}`;
      const signed = openSigned(secrets, value);
      if (!signed || signed.master === current) return `${name}=${value}`;
      return `${name}=${encodeURIComponent(`${signed.payload}.${signatureOf(current, signed.payload)}`)}`;
    })
    .join("; ");
}

interface Cookie {
  name: string;
  /** As sent: percent-encoded. */
  value: string;
}

function cookiesOf(header: string | null | undefined): Cookie[] {
  if (!header) return [];
  return header.split(";").flatMap((part) => {
    const at = part.indexOf("=");
    return at < 1 ? [] : [{ name: part.slice(0, at).trim(), value: part.slice(at + 1).trim() }];
  });
}

/** Takes a signed cookie's value apart: `payload.signature`, percent-encoded. */
function openSigned(secrets: Secrets, value: string): { payload: string; master: string } | null {
  let text: string;
  try {
    text = decodeURIComponent(value);
  } catch {
    return null;
  }
  const at = text.lastIndexOf(".");
  if (at < 1) return null;
  const payload = text.slice(0, at);
  const given = Buffer.from(text.slice(at + 1));
  for (const master of secrets.keys) {
    const expected = Buffer.from(signatureOf(master, payload));
    if (expected.length === given.length && timingSafeEqual(expected, given)) return { payload, master };
  }
  return null;
}

function signatureOf(master: string, payload: string): string {
  return createHmac("sha256", signingSecret(master)).update(payload).digest("base64");
}
