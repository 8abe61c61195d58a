import { createHash, hkdfSync } from "node:crypto";
import { SignJWT, jwtVerify, type JWTPayload } from "jose";
import {
  isId,
  type AgentId,
  type SessionId,
  type SiteId,
  type TenantId,
  type VisitorId,
} from "@agent-engine/protocol/ids.ts";
import type { Secrets } from "../context.ts";
import { ProblemError } from "../errors.ts";

export interface VisitorClaims {
  tenantId: TenantId;
  siteId: SiteId;
  visitorId: VisitorId;
  agentId: AgentId;
  /** The page's origin the token was made for; it is refused from any other. */
  origin: string;
  /** What one browser holds: every renewal keeps it, `reset` ends it. */
  sessionId: SessionId;
  /** When the customer's server last vouched for the visitor, ms since the epoch; null: they are anonymous. */
  identifiedAt: number | null;
}

export const VISITOR_TOKEN_SECONDS = 60 * 60;
/** How long after its end a token may still be exchanged for a new one of the same visitor. */
export const VISITOR_TOKEN_RENEWAL_SECONDS = 60 * 60 * 24 * 90;

/** A signed JWT in its compact form, and nothing around it. */
export const COMPACT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

const ISSUER = "agent-engine";
const AUDIENCE = "visitor";

interface SigningKey {
  id: string;
  key: Uint8Array;
}

const derived = new Map<string, SigningKey>();

function signingKey(master: string): SigningKey {
  let known = derived.get(master);
  if (!known) {
    const key = new Uint8Array(hkdfSync("sha256", master, "", "agent-engine visitor token", 32));
    known = { id: createHash("sha256").update(key).digest("hex").slice(0, 12), key };
    derived.set(master, known);
  }
  return known;
}

/** Signs a visitor's short-lived token (JWT, HS256, a key derived from the master key). `now` in ms since the epoch. */
export async function signVisitorToken(
  secrets: Secrets,
  claims: VisitorClaims,
  now: number,
): Promise<{ token: string; expiresAt: string }> {
  const [master] = secrets.keys;
  if (master === undefined) throw new Error("no master key to sign with");
  const { id, key } = signingKey(master);
  const issuedAt = Math.floor(now / 1000);
  const expires = issuedAt + VISITOR_TOKEN_SECONDS;
  const token = await new SignJWT({
    tenant: claims.tenantId,
    site: claims.siteId,
    agent: claims.agentId,
    origin: claims.origin,
    session: claims.sessionId,
    identified: claims.identifiedAt,
    // To the millisecond: a session that was opened in the second of a revocation lies before it or after it.
    issued: now,
  })
    .setProtectedHeader({ alg: "HS256", kid: id, typ: "JWT" })
    .setIssuer(ISSUER)
    .setAudience(AUDIENCE)
    .setSubject(claims.visitorId)
    .setIssuedAt(issuedAt)
    .setExpirationTime(expires)
    .sign(key);
  return { token, expiresAt: new Date(expires * 1000).toISOString() };
}

/** Claims of a token that was verified; times in ms since the epoch. */
export type VerifiedVisitor = VisitorClaims & { issuedAt: number; expiresAt: number };

/** Tokens verified lately: a visitor sends the same one with every request of an hour, and verifying takes its time. */
const verified = new WeakMap<Secrets, Map<string, VerifiedVisitor>>();
const MAX_VERIFIED = 10_000;

/** Verifies a token with any of the master keys. Throws `unauthenticated`, never saying why to a forger. */
export async function verifyVisitorToken(
  secrets: Secrets,
  token: string,
  now: number,
  options: { graceSeconds?: number } = {},
): Promise<VerifiedVisitor> {
  const known = verified.get(secrets)?.get(token);
  if (known && known.expiresAt > now) return known;
  const claims = await verifyAnew(secrets, token, now, options);
  if (claims.expiresAt > now) remember(secrets, token, claims);
  return claims;
}

function remember(secrets: Secrets, token: string, claims: VerifiedVisitor): void {
  const tokens = verified.get(secrets) ?? new Map<string, VerifiedVisitor>();
  verified.set(secrets, tokens);
  const [oldest] = tokens.keys();
  if (tokens.size >= MAX_VERIFIED && oldest !== undefined) tokens.delete(oldest);
  tokens.set(token, claims);
}

async function verifyAnew(
  secrets: Secrets,
  token: string,
  now: number,
  options: { graceSeconds?: number },
): Promise<VerifiedVisitor> {
  try {
    // Decoders of base64 forgive spaces; what is compared, cached and logged must have one form.
    if (!COMPACT.test(token)) throw new Error("not in compact form");
    const { payload } = await jwtVerify(
      token,
      (header) => {
        const found = secrets.keys.map(signingKey).find(({ id }) => id === header.kid);
        if (!found) throw new Error("unknown key");
        return found.key;
      },
      {
        algorithms: ["HS256"],
        issuer: ISSUER,
        audience: AUDIENCE,
        currentDate: new Date(now),
        clockTolerance: options.graceSeconds ?? 0,
        requiredClaims: ["sub", "exp", "tenant", "site", "agent", "origin", "session", "issued"],
      },
    );
    return toClaims(payload);
  } catch (cause) {
    throw new ProblemError(
      "unauthenticated",
      "The visitor token is not valid or has expired. Open a new visitor session with the site's publishable key.",
      { cause },
    );
  }
}

function toClaims({ sub, tenant, site, agent, origin, exp, session, issued, identified }: JWTPayload): VerifiedVisitor {
  if (!isId("visitor", sub) || !isId("tenant", tenant) || !isId("site", site) || !isId("agent", agent))
    throw new Error("bad claims");
  if (!isId("session", session) || typeof origin !== "string" || exp === undefined) throw new Error("bad claims");
  if (typeof issued !== "number" || (identified !== null && typeof identified !== "number"))
    throw new Error("bad claims");
  return {
    tenantId: tenant,
    siteId: site,
    visitorId: sub,
    agentId: agent,
    origin,
    sessionId: session,
    identifiedAt: identified,
    issuedAt: issued,
    expiresAt: exp * 1000,
  };
}
