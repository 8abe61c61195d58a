import { createHmac } from "node:crypto";
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  UnsecuredJWT,
  createLocalJWKSet,
  type GenerateKeyPairResult,
  type JWK,
} from "jose";
import { beforeAll, describe, expect, test } from "vitest";
import {
  MAX_IDENTITY_SECONDS,
  verifyIdentityToken,
  type IdentityAudience,
  type IdentityKeys,
} from "./identity-token.ts";

const SECRET = "isk_a-secret-of-the-site-long-enough-to-sign-with";
const OLD_SECRET = "isk_the-secret-before-it-long-enough-to-sign-with";
const SITE = "site_0123456789abcdef0123456789abcdef";
const PUBLISHABLE = "pk_abcdef";
const NOW = Date.UTC(2026, 0, 1);
const SECONDS = NOW / 1_000;

const bytes = (text: string) => new TextEncoder().encode(text);
const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const byId = (keys: IdentityKeys): IdentityAudience => ({ keys, audience: [SITE, PUBLISHABLE] });
const bySecret = byId({ algorithm: "HS256", secrets: [SECRET] });

const good = { sub: "customer-7", aud: SITE, iat: SECONDS, exp: SECONDS + 300, jti: "once" };

type Claims = Record<string, unknown>;
const sign = (claims: Claims, key: Parameters<SignJWT["sign"]>[0] = bytes(SECRET), header: Claims = {}) =>
  new SignJWT(claims).setProtectedHeader({ alg: "HS256", ...header }).sign(key);
const verify = (token: string, of: IdentityAudience = bySecret) => verifyIdentityToken(token, of, NOW);

let rsa: GenerateKeyPairResult;
let weakRsa: GenerateKeyPairResult;
let ec: GenerateKeyPairResult;
let ed: GenerateKeyPairResult;
let jwks: { keys: JWK[] };

beforeAll(async () => {
  const make = (alg: string) => generateKeyPair(alg, { extractable: true });
  [rsa, weakRsa, ec, ed] = await Promise.all([make("RS256"), make("RS256"), make("ES256"), make("EdDSA")]);
  jwks = {
    keys: [
      { ...(await exportJWK(rsa.publicKey)), kid: "rsa" },
      { ...(await exportJWK(ec.publicKey)), kid: "ec" },
      { ...(await exportJWK(ed.publicKey)), kid: "ed" },
    ],
  };
});
const byJwks = (algorithm: "RS256" | "ES256" | "EdDSA") => byId({ algorithm, keyOf: createLocalJWKSet(jwks) });

describe("a token that the customer's server signed", () => {
  test("says who the visitor is, and what is known of them", async () => {
    const traits = { plan: "pro", seats: 5, beta: true, manager: null };
    const token = await sign({ ...good, name: "Ada", email: "ada@example.com", traits });
    expect(await verify(token)).toEqual({
      externalId: "customer-7",
      name: "Ada",
      email: "ada@example.com",
      traits,
      issuedAt: NOW,
      expiresAt: NOW + 300_000,
      tokenHash: expect.any(Buffer),
    });
    expect(await verify(await sign(good))).toMatchObject({ name: undefined, email: undefined, traits: undefined });
  });

  test("names the site by its id or its publishable key, alone or among others", async () => {
    for (const aud of [SITE, PUBLISHABLE, ["elsewhere", PUBLISHABLE]]) {
      expect(await verify(await sign({ ...good, aud }))).toMatchObject({ externalId: "customer-7" });
    }
  });

  test("is good under either secret while one is replaced", async () => {
    const rotating = byId({ algorithm: "HS256", secrets: [SECRET, OLD_SECRET] });
    for (const secret of [SECRET, OLD_SECRET]) {
      expect(await verify(await sign(good, bytes(secret)), rotating)).toMatchObject({ externalId: "customer-7" });
    }
    await expect(verify(await sign(good, bytes(OLD_SECRET)))).rejects.toMatchObject({ code: "unauthenticated" });
  });

  test("may be signed with a key of the customer's own, of the one kind that the site is set to", async () => {
    const signed = {
      RS256: await sign(good, rsa.privateKey, { alg: "RS256", kid: "rsa" }),
      ES256: await sign(good, ec.privateKey, { alg: "ES256", kid: "ec" }),
      EdDSA: await sign(good, ed.privateKey, { alg: "EdDSA", kid: "ed" }),
    };
    for (const algorithm of ["RS256", "ES256", "EdDSA"] as const) {
      for (const [other, token] of Object.entries(signed)) {
        const verified = verify(token, byJwks(algorithm));
        if (other === algorithm) expect(await verified).toMatchObject({ externalId: "customer-7" });
        else await expect(verified).rejects.toMatchObject({ code: "unauthenticated" });
      }
    }
  });

  test("is known again by its `jti`, or without one by what was signed, however the signature is written", async () => {
    const hashOf = async (token: string) => (await verify(token)).tokenHash.toString("hex");
    const again = await sign({ ...good, name: "another token with the same jti" });
    expect(await hashOf(again)).toBe(await hashOf(await sign(good)));
    expect(await hashOf(await sign({ ...good, jti: "twice" }))).not.toBe(await hashOf(again));
    const { jti: _, ...plain } = good;
    const token = await sign(plain);
    // The last character of 32 bytes in base64url carries two bits that mean nothing.
    const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const last = alphabet.indexOf(token.at(-1) ?? "");
    const sibling = `${token.slice(0, -1)}${alphabet[last ^ 1]}`;
    expect(sibling).not.toBe(token);
    expect(await hashOf(sibling)).toBe(await hashOf(token));
  });
});

describe("a token is refused", () => {
  const parts = async () => (await sign(good)).split(".") as [string, string, string];
  const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });

  const corpus: [name: string, make: () => string | Promise<string>, of?: () => IdentityAudience][] = [
    ["nothing", () => ""],
    ["letters", () => "a.b.c"],
    ["two dots", () => ".."],
    ["NUL", () => "\u0000"],
    ["something huge", () => "x".repeat(200_000)],
    ["a token and a line end", async () => `${await sign(good)}\n`],
    ["a token after a space", async () => ` ${await sign(good)}`],
    ["a publishable key", () => PUBLISHABLE],
    ["half a signature", async () => (await sign(good)).slice(0, -20)],
    ["no signature", async () => `${(await parts()).slice(0, 2).join(".")}.`],
    ["alg none", async () => `${b64({ alg: "none" })}.${(await parts())[1]}.`],
    ["alg none and a signature", async () => `${b64({ alg: "none" })}.${(await parts())[1]}.${(await parts())[2]}`],
    ["an unsecured JWT", () => new UnsecuredJWT(good).encode()],
    ["another secret", () => sign(good, bytes("another secret that is long enough to sign"))],
    [
      "an empty secret",
      () =>
        `${b64({ alg: "HS256" })}.${b64(good)}.${createHmac("sha256", "")
          .update(`${b64({ alg: "HS256" })}.${b64(good)}`)
          .digest("base64url")}`,
    ],
    ["the publishable key as the secret", () => sign(good, bytes(PUBLISHABLE.padEnd(32, "x")))],
    ["HS512 under the right secret", () => sign(good, bytes(SECRET.repeat(2)), { alg: "HS512" })],
    ["RS256 where a secret is set", async () => sign(good, rsa.privateKey, { alg: "RS256" })],
    [
      "HS256 with the public key as its secret",
      async () => sign(good, bytes(await exportSPKI(rsa.publicKey)), { kid: "rsa" }),
      () => byJwks("RS256"),
    ],
    [
      "HS256 with the JWKS as its secret",
      () => sign(good, bytes(JSON.stringify(jwks)), { kid: "rsa" }),
      () => byJwks("RS256"),
    ],
    [
      "HS256 with the modulus as its secret",
      () => sign(good, bytes(jwks.keys[0]?.n ?? ""), { kid: "rsa" }),
      () => byJwks("RS256"),
    ],
    ["alg none where keys are set", () => new UnsecuredJWT(good).encode(), () => byJwks("ES256")],
    [
      "somebody's RSA key under a known kid",
      () => sign(good, weakRsa.privateKey, { alg: "RS256", kid: "rsa" }),
      () => byJwks("RS256"),
    ],
    ["an unknown kid", () => sign(good, rsa.privateKey, { alg: "RS256", kid: "nobody" }), () => byJwks("RS256")],
    [
      "the kid of a key of another kind",
      () => sign(good, rsa.privateKey, { alg: "RS256", kid: "ec" }),
      () => byJwks("RS256"),
    ],
    [
      "a kid that is a path",
      () => sign(good, rsa.privateKey, { alg: "RS256", kid: "../../dev/null" }),
      () => byJwks("RS256"),
    ],
    [
      "a key of its own (jwk)",
      async () => sign(good, weakRsa.privateKey, { alg: "RS256", jwk: await exportJWK(weakRsa.publicKey), kid: "x" }),
      () => byJwks("RS256"),
    ],
    [
      "an address of keys (jku)",
      () => sign(good, weakRsa.privateKey, { alg: "RS256", jku: "https://evil.example/jwks", kid: "x" }),
      () => byJwks("RS256"),
    ],
    ["RS256 where EdDSA is set", () => sign(good, rsa.privateKey, { alg: "RS256", kid: "rsa" }), () => byJwks("EdDSA")],
    [
      "an unknown critical header",
      async () => `${b64({ alg: "HS256", crit: ["x"], x: 1 })}.${(await parts())[1]}.${(await parts())[2]}`,
    ],
    [
      "changed claims",
      async () => `${(await parts())[0]}.${b64({ ...good, sub: "customer-8" })}.${(await parts())[2]}`,
    ],
    ["claims that are a list", async () => `${(await parts())[0]}.${b64([])}.${(await parts())[2]}`],
    ...["sub", "aud", "iat", "exp"].map((name): [string, () => Promise<string>] => [
      `no ${name}`,
      () => sign(without(name)),
    ]),
    ["another site", () => sign({ ...good, aud: SITE.replace("0", "1") })],
    ["an audience of other sites", () => sign({ ...good, aud: ["a", "b"] })],
    ["an empty audience", () => sign({ ...good, aud: "" })],
    ["no audience in the list", () => sign({ ...good, aud: [] })],
    ["part of the audience", () => sign({ ...good, aud: SITE.slice(0, -1) })],
    ["expired", () => sign({ ...good, iat: SECONDS - 600, exp: SECONDS - 61 })],
    ["expired long ago", () => sign({ ...good, iat: 1, exp: 2 })],
    ["good for longer than a day", () => sign({ ...good, exp: SECONDS + MAX_IDENTITY_SECONDS + 61 })],
    ["good for ever", () => sign({ ...good, exp: Number.MAX_SAFE_INTEGER })],
    ["old, and good for longer than a day", () => sign({ ...good, iat: SECONDS - 40 * 86_400, exp: SECONDS + 60 })],
    ["issued in the future", () => sign({ ...good, iat: SECONDS + 120 })],
    ["ended before it began", () => sign({ ...good, iat: SECONDS + 30, exp: SECONDS + 20 })],
    ["not valid yet", () => sign({ ...good, nbf: SECONDS + 120 })],
    ["times in milliseconds", () => sign({ ...good, iat: NOW, exp: NOW + 300_000 })],
    ["an end that is text", () => sign({ ...good, exp: `${good.exp}` })],
    ["an issue that is text", () => sign({ ...good, iat: "now" })],
    ["a subject that is a number", () => sign({ ...good, sub: 7 })],
    ["a subject that is a list", () => sign({ ...good, sub: ["customer-7"] })],
    ["an empty subject", () => sign({ ...good, sub: "" })],
    ["a blank subject", () => sign({ ...good, sub: "  " })],
    ["a subject with NUL", () => sign({ ...good, sub: "a\u0000b" })],
    ["a long subject", () => sign({ ...good, sub: "x".repeat(256) })],
    ["a long jti", () => sign({ ...good, jti: "x".repeat(256) })],
    ["a jti that is a number", () => sign({ ...good, jti: 5 })],
    ["a name that is an object", () => sign({ ...good, name: { first: "Ada" } })],
    ["a long name", () => sign({ ...good, name: "x".repeat(201) })],
    ["a long e-mail", () => sign({ ...good, email: "x".repeat(255) })],
    ["traits that are a list", () => sign({ ...good, traits: ["pro"] })],
    ["traits that are deep", () => sign({ ...good, traits: { a: deep(3) } })],
    [
      "too many traits",
      () => sign({ ...good, traits: Object.fromEntries(Array.from({ length: 51 }, (_, n) => [`t${n}`, n])) }),
    ],
    ["a long trait", () => sign({ ...good, traits: { a: "x".repeat(501) } })],
    ["a long trait's name", () => sign({ ...good, traits: { ["x".repeat(65)]: 1 } })],
  ];

  test("in many ways", () => {
    expect(corpus.length).toBeGreaterThanOrEqual(65);
    expect(new Set(corpus.map(([name]) => name)).size).toBe(corpus.length);
  });

  test.each(corpus)("%s", async (_name, make, of) => {
    await expect(verify(await make(), of?.())).rejects.toMatchObject({
      code: "unauthenticated",
      detail: expect.stringMatching(/^The `identityToken` is refused: .*\.$/s),
    });
  });

  test.each([
    [
      "which secret",
      () => sign(good, bytes("another secret that is long enough to sign")),
      /HS256 and the site's identity secret/,
    ],
    [
      "which audience",
      () => sign({ ...good, aud: "shop" }),
      /`aud` must be the site's id \(`site_…`\) or its publishable key/,
    ],
    ["that it has expired", () => sign({ ...good, iat: SECONDS - 600, exp: SECONDS - 300 }), /expired.*clock/],
    ["how long it may be good", () => sign({ ...good, exp: SECONDS + 10 * 86_400 }), /24 hours at most/],
    ["what is missing", () => sign(without("exp")), /`exp` is missing/],
    ["which claim is wrong", () => sign({ ...good, traits: 5 }), /`traits`/],
  ])("with words that help: %s", async (_what, make, words) => {
    await expect(verify(await make())).rejects.toMatchObject({ detail: expect.stringMatching(words) });
  });

  test("without a word of its claims before its signature is known to be good", async () => {
    const forged = await sign(
      { ...good, aud: "elsewhere", exp: 1 },
      bytes("another secret that is long enough to sign"),
    );
    await expect(verify(forged)).rejects.toMatchObject({ detail: expect.stringMatching(/must be signed with HS256/) });
  });
});
