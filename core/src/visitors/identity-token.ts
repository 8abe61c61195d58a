/**
 * What the customer's own server says of a visitor: a JWT that it signs and its page hands over. A bearer of one is that
 * person here, so it is held to the algorithm that the site is set to, to this site, to a day at most, and to one use.
 */
import { createHash } from "node:crypto";
import { errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose";
import { z } from "zod";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { IdentityAlgorithm, Trait } from "@agent-engine/protocol/visitors.ts";
import { cleanJson } from "../db/jsonb.ts";
import { ProblemError } from "../errors.ts";
import { COMPACT } from "./visitor-token.ts";

export const MAX_IDENTITY_SECONDS = 86_400;
/** How far the customer's clock may be from ours. */
const CLOCK_TOLERANCE_SECONDS = 60;
const MAX_TRAITS = 50;

export interface VerifiedIdentity {
  externalId: string;
  /** What the token does not say stays as it was. */
  name: string | undefined;
  email: string | undefined;
  traits: Record<string, Trait> | undefined;
  /** Ms since the epoch. */
  issuedAt: number;
  expiresAt: number;
  /** By which a second use is known: of `jti`, or of the whole token where it has none. */
  tokenHash: Buffer;
}

/** What a site's tokens are checked with. */
export type IdentityKeys =
  | { algorithm: "HS256"; /** Newest first: while a secret is replaced there are two. */ secrets: readonly string[] }
  | { algorithm: Exclude<IdentityAlgorithm, "HS256">; keyOf: JWTVerifyGetKey };

export interface IdentityAudience {
  keys: IdentityKeys;
  /** The site's id and its publishable key: `aud` names either. */
  audience: readonly string[];
}

/** The same curve has two names. */
const ACCEPTED: Record<IdentityAlgorithm, string[]> = {
  HS256: ["HS256"],
  RS256: ["RS256"],
  ES256: ["ES256"],
  EdDSA: ["EdDSA", "Ed25519"],
};

const traits = z
  .record(z.string().min(1).max(64), z.union([z.string().max(500), z.number(), z.boolean(), z.null()]))
  .refine((value) => Object.keys(value).length <= MAX_TRAITS);

const claims = z.object({
  sub: z.string().max(255),
  iat: z.number(),
  exp: z.number(),
  jti: z.string().max(255).optional(),
  name: z.string().max(200).optional(),
  email: z.string().max(254).optional(),
  traits: traits.optional(),
});

/**
 * Verifies an identity token. Throws `unauthenticated`, with words that help whoever signs them: what they tell of a
 * token was in it, or is told only once its signature was good. `unavailable` when the keys cannot be had.
 */
export async function verifyIdentityToken(
  token: string,
  { keys, audience }: IdentityAudience,
  now: number,
): Promise<VerifiedIdentity> {
  const options = {
    algorithms: ACCEPTED[keys.algorithm],
    audience: [...audience],
    currentDate: new Date(now),
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    requiredClaims: ["sub", "exp", "iat", "aud"],
  };
  if (!COMPACT.test(token)) throw refused("it is no signed JWT in compact form");
  try {
    const { payload } =
      keys.algorithm === "HS256"
        ? await verifyWithSecrets(token, keys.secrets, options)
        : await jwtVerify(token, keys.keyOf, options);
    return checked(payload, token, now);
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw explained(error, keys.algorithm);
  }
}

async function verifyWithSecrets(
  token: string,
  secrets: readonly string[],
  options: Parameters<typeof jwtVerify>[2],
): Promise<{ payload: JWTPayload }> {
  const [secret = "", ...older] = secrets;
  try {
    return await jwtVerify(token, new TextEncoder().encode(secret), options);
  } catch (error) {
    if (older.length === 0 || !(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    return verifyWithSecrets(token, older, options);
  }
}

function checked(payload: JWTPayload, token: string, now: number): VerifiedIdentity {
  const parsed = claims.safeParse(payload);
  if (!parsed.success) {
    const names = [...new Set(parsed.error.issues.map(({ path }) => `\`${String(path[0])}\``))].join(", ");
    throw refused(
      `its claim ${names} has the wrong type or is too long: \`sub\` is a text of at most 255 characters, \`traits\` an object of at most ${MAX_TRAITS} short texts, numbers and booleans`,
    );
  }
  const { sub, iat, exp, jti, name, email } = parsed.data;
  if (sub.trim() === "" || sub !== cleanText(sub))
    throw refused("its `sub` is empty or holds characters that are none");
  const nowSeconds = now / 1000;
  if (iat > nowSeconds + CLOCK_TOLERANCE_SECONDS) {
    throw refused("its `iat` lies in the future: check the clock of the server that signs it");
  }
  const latest = Math.min(iat, nowSeconds) + MAX_IDENTITY_SECONDS + CLOCK_TOLERANCE_SECONDS;
  if (exp > latest || exp <= iat) {
    throw refused("its `exp` must be after its `iat` by 24 hours at most; some minutes are enough");
  }
  return {
    externalId: sub,
    name: name === undefined ? undefined : cleanText(name),
    email: email === undefined ? undefined : cleanText(email),
    traits: parsed.data.traits && cleanJson(parsed.data.traits),
    issuedAt: iat * 1000,
    expiresAt: exp * 1000,
    tokenHash: createHash("sha256")
      // What was signed, without the signature: that can be written in several ways.
      .update(jti === undefined ? `signed:${token.slice(0, token.lastIndexOf("."))}` : `jti:${jti}`)
      .digest(),
  };
}

function refused(why: string, cause?: unknown): ProblemError {
  return new ProblemError("unauthenticated", `The \`identityToken\` is refused: ${why}.`, { cause });
}

function explained(error: unknown, algorithm: IdentityAlgorithm): ProblemError {
  if (error instanceof errors.JWTExpired) {
    return refused(
      "it has expired. Sign a new one for each page, and check the clock of the server that signs it",
      error,
    );
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    const why =
      error.claim === "aud"
        ? "its `aud` must be the site's id (`site_…`) or its publishable key (`pk_…`)"
        : `its claim \`${error.claim}\` is missing or not valid. \`sub\`, \`aud\`, \`iat\` and \`exp\` are required`;
    return refused(why, error);
  }
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JWSSignatureVerificationFailed) {
    const key = algorithm === "HS256" ? "the site's identity secret" : "a key of the site's JWKS URL";
    return refused(`it must be signed with ${algorithm} and ${key}`, error);
  }
  if (error instanceof errors.JWKSNoMatchingKey || error instanceof errors.JWKSMultipleMatchingKeys) {
    return refused(
      "the site's JWKS URL has not exactly one key that fits: name it by `kid` in the token's header",
      error,
    );
  }
  if (
    error instanceof errors.JWSInvalid ||
    error instanceof errors.JWTInvalid ||
    error instanceof errors.JOSENotSupported
  ) {
    return refused("it is no signed JWT in compact form", error);
  }
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid || error instanceof JwksUnreadable) {
    return new ProblemError(
      "unavailable",
      "The keys at the site's JWKS URL cannot be read right now, so nobody can be identified. Check that it answers with a JSON Web Key Set over https.",
      { retryAfterSeconds: 30, cause: error },
    );
  }
  return refused("it cannot be read", error);
}

/** The address of a site's keys does not answer as it should. */
export class JwksUnreadable extends Error {
  constructor(why: string, cause?: unknown) {
    super(`The JWKS cannot be read: ${why}`, { cause });
    this.name = "JwksUnreadable";
  }
}
