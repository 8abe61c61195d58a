import { SignJWT, UnsecuredJWT, decodeProtectedHeader, generateKeyPair } from "jose";
import { hkdfSync } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  signVisitorToken,
  verifyVisitorToken,
  VISITOR_TOKEN_RENEWAL_SECONDS,
  VISITOR_TOKEN_SECONDS,
  type VisitorClaims,
} from "./visitor-token.ts";

const secrets = { keys: ["a-master-key-for-tests-that-is-long-enough"] };
const NOW = Date.UTC(2026, 0, 1);
const END = NOW + VISITOR_TOKEN_SECONDS * 1_000;
const id = <P extends string>(prefix: P): `${P}_${string}` => `${prefix}_0123456789abcdef0123456789abcdef`;
const claims: VisitorClaims = {
  tenantId: id("tenant"),
  siteId: id("site"),
  visitorId: id("visitor"),
  agentId: id("agent"),
  origin: "https://shop.example",
  sessionId: id("session"),
  identifiedAt: null,
};

const refused = { code: "unauthenticated" };
const signed = async () => (await signVisitorToken(secrets, claims, NOW)).token;

/** A token signed with our own key, whatever it says. */
async function forge(
  payload: Record<string, unknown>,
  more: { audience?: string; issuer?: string; subject?: string } = {},
) {
  const { kid } = decodeProtectedHeader(await signed());
  const key = new Uint8Array(hkdfSync("sha256", secrets.keys[0] ?? "", "", "agent-engine visitor token", 32));
  return new SignJWT(payload)
    .setProtectedHeader({ alg: "HS256", kid: kid ?? "", typ: "JWT" })
    .setIssuer(more.issuer ?? "agent-engine")
    .setAudience(more.audience ?? "visitor")
    .setSubject(more.subject ?? claims.visitorId)
    .setIssuedAt(NOW / 1_000)
    .setExpirationTime(END / 1_000)
    .sign(key);
}

const whole = {
  tenant: claims.tenantId,
  site: claims.siteId,
  agent: claims.agentId,
  origin: claims.origin,
  session: claims.sessionId,
  identified: null,
  issued: NOW,
};

test("a token says who it was made for, where, and until when", async () => {
  const { token, expiresAt } = await signVisitorToken(secrets, claims, NOW);
  expect(expiresAt).toBe(new Date(END).toISOString());
  expect(await verifyVisitorToken(secrets, token, NOW)).toEqual({ ...claims, issuedAt: NOW, expiresAt: END });
  expect(await verifyVisitorToken(secrets, token, END - 1_000)).toEqual({ ...claims, issuedAt: NOW, expiresAt: END });
});

describe("time", () => {
  test("ends a token; within the grace it can still be exchanged, and then no more", async () => {
    const token = await signed();
    await expect(verifyVisitorToken(secrets, token, END)).rejects.toMatchObject(refused);
    await expect(verifyVisitorToken(secrets, token, END + 1_000)).rejects.toMatchObject(refused);
    const grace = { graceSeconds: VISITOR_TOKEN_RENEWAL_SECONDS };
    const lastMoment = END + (VISITOR_TOKEN_RENEWAL_SECONDS - 1) * 1_000;
    expect(await verifyVisitorToken(secrets, token, lastMoment, grace)).toMatchObject({ visitorId: claims.visitorId });
    await expect(verifyVisitorToken(secrets, token, lastMoment + 1_000, grace)).rejects.toMatchObject(refused);
  });
});

describe("keys", () => {
  test("rotate: the first signs, every one verifies, a removed one no more", async () => {
    const old = await signed();
    const rotated = { keys: ["the-new-master-key-that-is-long-enough", ...secrets.keys] };
    expect(await verifyVisitorToken(rotated, old, NOW)).toMatchObject(claims);
    const { token: fresh } = await signVisitorToken(rotated, claims, NOW);
    expect(await verifyVisitorToken({ keys: rotated.keys.slice(0, 1) }, fresh, NOW)).toMatchObject(claims);
    await expect(verifyVisitorToken(secrets, fresh, NOW)).rejects.toMatchObject(refused);
    await expect(verifyVisitorToken({ keys: rotated.keys.slice(0, 1) }, old, NOW)).rejects.toMatchObject(refused);
  });

  test("of somebody else do not count, not even under our key's name", async () => {
    const { kid } = decodeProtectedHeader(await signed());
    const theirs = await new SignJWT(whole)
      .setProtectedHeader({ alg: "HS256", kid: kid ?? "" })
      .setIssuer("agent-engine")
      .setAudience("visitor")
      .setSubject(claims.visitorId)
      .setIssuedAt(NOW / 1_000)
      .setExpirationTime(END / 1_000)
      .sign(new TextEncoder().encode("another key, as long as it needs to be"));
    await expect(verifyVisitorToken(secrets, theirs, NOW)).rejects.toMatchObject(refused);
    await expect(verifyVisitorToken({ keys: [] }, await signed(), NOW)).rejects.toMatchObject(refused);
  });
});

describe("forgeries", () => {
  const other = id("tenant").replace("0", "1");
  const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const header = async () => decodeProtectedHeader(await signed());
  const ourKey = new Uint8Array(hkdfSync("sha256", secrets.keys[0] ?? "", "", "agent-engine visitor token", 32));
  const parts = async () => (await signed()).split(".") as [string, string, string];
  const payloadOf = (payload: string) => JSON.parse(Buffer.from(payload, "base64url").toString()) as object;

  /** Our signature over other words, our words under another header. */
  const withClaims = async (changed: Record<string, unknown>) => {
    const [head, payload, signature] = await parts();
    return `${head}.${b64({ ...payloadOf(payload), ...changed })}.${signature}`;
  };
  const withHeader = async (changed: Record<string, unknown>, signature?: string) => {
    const [, payload, ours] = await parts();
    return `${b64({ ...(await header()), ...changed })}.${payload}.${signature ?? ours}`;
  };
  const rsa = async () => (await generateKeyPair("RS256")).privateKey;
  /** Signed rightly by whoever has another key. */
  const signedWith = async (
    key: Uint8Array | Awaited<ReturnType<typeof rsa>>,
    protectedHeader: Record<string, unknown>,
  ) =>
    new SignJWT(whole)
      .setProtectedHeader({ alg: "HS256", ...protectedHeader })
      .setIssuer("agent-engine")
      .setAudience("visitor")
      .setSubject(claims.visitorId)
      .setIssuedAt(NOW / 1_000)
      .setExpirationTime(END / 1_000)
      .sign(key);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const without = (name: string) => Object.fromEntries(Object.entries(whole).filter(([key]) => key !== name));

  const corpus: [name: string, make: () => string | Promise<string>][] = [
    ["nothing", () => ""],
    ["a dot", () => "."],
    ["two dots", () => ".."],
    ["letters", () => "a.b.c"],
    ["null", () => "null"],
    ["a header's value", () => "Bearer x"],
    ["empty objects", () => "e30.e30.e30"],
    ["NUL", () => "\u0000"],
    ["something huge", () => "x".repeat(1_000_000)],
    ["a huge part", async () => `${(await parts())[0]}.${"A".repeat(1_000_000)}.${(await parts())[2]}`],
    ["a token and more", async () => `${await signed()}.x`],
    ["a token after a space", async () => ` ${await signed()}`],
    ["a token and a line end", async () => `${await signed()}\n`],
    ["a token in quotes", async () => `"${await signed()}"`],
    ["a token in upper case", async () => (await signed()).toUpperCase()],
    ["a token twice", async () => `${await signed()}${await signed()}`],
    ["no signature", async () => `${(await parts()).slice(0, 2).join(".")}.`],
    ["no signature and no dot", async () => (await parts()).slice(0, 2).join(".")],
    ["half a signature", async () => (await signed()).slice(0, -20)],
    ["one character less", async () => (await signed()).slice(0, -2)],
    ["no header", async () => `.${(await parts()).slice(1).join(".")}`],
    ["no payload", async () => `${(await parts())[0]}..${(await parts())[2]}`],
    [
      "another token's signature",
      async () =>
        `${(await parts()).slice(0, 2).join(".")}.${(await forge(whole, { subject: id("visitor").replace("0", "2") })).split(".")[2]}`,
    ],
    ["alg none", async () => `${b64({ alg: "none" })}.${(await parts())[1]}.`],
    ["alg none with our key's name", async () => withHeader({ alg: "none" }, "")],
    ["alg none and our signature", async () => withHeader({ alg: "none" })],
    ["alg NONE", async () => withHeader({ alg: "NONE" }, "")],
    ["alg nOnE", async () => withHeader({ alg: "nOnE" }, "")],
    [
      "an unsecured JWT",
      () =>
        new UnsecuredJWT({ ...whole, sub: claims.visitorId })
          .setIssuer("agent-engine")
          .setAudience("visitor")
          .setExpirationTime(END / 1_000)
          .encode(),
    ],
    ["no alg", async () => withHeader({ alg: undefined })],
    ["alg HS384, ours", async () => signedWith(ourKey, { ...(await header()), alg: "HS384" })],
    ["alg HS512, ours", async () => signedWith(ourKey, { ...(await header()), alg: "HS512" })],
    ["alg RS256 with our key's name", async () => signedWith(await rsa(), { ...(await header()), alg: "RS256" })],
    ["alg RS256 over our signature", async () => withHeader({ alg: "RS256" })],
    ["alg ES256 over our signature", async () => withHeader({ alg: "ES256" })],
    ["alg EdDSA over our signature", async () => withHeader({ alg: "EdDSA" })],
    [
      "another key under our key's name",
      async () => signedWith(bytes("another key, as long as it needs to be"), await header()),
    ],
    [
      "the name of our key as the key",
      async () => signedWith(bytes(String((await header()).kid).repeat(3)), await header()),
    ],
    ["zeros as the key", async () => signedWith(new Uint8Array(32), await header())],
    ["the master key itself", async () => signedWith(bytes(secrets.keys[0] ?? ""), await header())],
    ["no kid", async () => signedWith(ourKey, { kid: undefined })],
    ["an empty kid", async () => signedWith(ourKey, { kid: "" })],
    ["a kid that is a path", async () => signedWith(new Uint8Array(32), { kid: "../../../../dev/null" })],
    ["a kid that is SQL", async () => signedWith(new Uint8Array(32), { kid: "x' or '1'='1" })],
    ["a kid that is an address", async () => signedWith(new Uint8Array(32), { kid: "https://evil.example/key" })],
    ["a kid that is a property", async () => signedWith(new Uint8Array(32), { kid: "__proto__" })],
    ["a kid that is no text", async () => withHeader({ kid: 0 })],
    ["a kid that is a list", async () => withHeader({ kid: [(await header()).kid] })],
    [
      "a key of its own (jwk)",
      async () =>
        signedWith(bytes("another key, as long as it needs to be"), {
          ...(await header()),
          jwk: { kty: "oct", k: "AAAA" },
        }),
    ],
    [
      "an address of keys (jku)",
      async () =>
        signedWith(bytes("another key, as long as it needs to be"), {
          ...(await header()),
          jku: "https://evil.example/jwks",
        }),
    ],
    ["an unknown critical header", async () => withHeader({ crit: ["x"], x: 1 })],
    ["b64 false", async () => withHeader({ b64: false, crit: ["b64"] })],
    ["another tenant", () => withClaims({ tenant: other })],
    ["another site", () => withClaims({ site: id("site").replace("0", "1") })],
    ["another visitor", () => withClaims({ sub: id("visitor").replace("0", "1") })],
    ["another agent", () => withClaims({ agent: id("agent").replace("0", "1") })],
    ["another origin", () => withClaims({ origin: "https://evil.example" })],
    ["another session", () => withClaims({ session: id("session").replace("0", "1") })],
    ["a later end", () => withClaims({ exp: END / 1_000 + 86_400 })],
    ["a later issue", () => withClaims({ issued: NOW + 86_400_000 })],
    ["identified, by themselves", () => withClaims({ identified: NOW })],
    ["another audience", () => forge(whole, { audience: "member" })],
    ["another issuer", () => forge(whole, { issuer: "elsewhere" })],
    ["expired", async () => (await signVisitorToken(secrets, claims, NOW - 2 * 3_600_000)).token],
    ["a subject of another kind", () => forge(whole, { subject: id("member") })],
    ["no subject of ours", () => forge(whole, { subject: "root" })],
    ["a tenant of another kind", () => forge({ ...whole, tenant: id("site") })],
    ["a list of tenants", () => forge({ ...whole, tenant: [claims.tenantId] })],
    ["an origin that is no text", () => forge({ ...whole, origin: 5 })],
    ["a session of another kind", () => forge({ ...whole, session: id("visitor") })],
    ["an issue that is no number", () => forge({ ...whole, issued: "now" })],
    ["an identification that is no number", () => forge({ ...whole, identified: "yes" })],
    ...Object.keys(whole).map((name): [string, () => Promise<string>] => [`no ${name}`, () => forge(without(name))]),
    ["a JWS in JSON", async () => JSON.stringify({ payload: (await parts())[1], signatures: [] })],
    ["an encrypted token's form", () => "e30.e30.e30.e30.e30"],
  ];

  test("are many, and what is forged rightly is taken", async () => {
    expect(corpus.length).toBeGreaterThanOrEqual(75);
    expect(new Set(corpus.map(([name]) => name)).size).toBe(corpus.length);
    expect(await verifyVisitorToken(secrets, await forge(whole), NOW)).toMatchObject(claims);
    expect(await verifyVisitorToken(secrets, await signedWith(ourKey, await header()), NOW)).toMatchObject(claims);
  });

  test.each(corpus)("are refused, all in the same words: %s", async (_name, make) => {
    const token = await make();
    const words = /^The visitor token is not valid or has expired\. Open a new visitor session/;
    for (const options of [{}, { graceSeconds: 60 }]) {
      const verified = verifyVisitorToken(secrets, token, NOW, options);
      await expect(verified).rejects.toMatchObject({ ...refused, detail: expect.stringMatching(words) });
    }
  });

  test("are refused wherever one byte of a signature differs", async () => {
    const [head, payload, signature] = await parts();
    const right = Buffer.from(signature, "base64url");
    for (let at = 0; at < right.length; at++) {
      const changed = Buffer.from(right);
      changed.writeUInt8((changed.readUInt8(at) + 1) % 256, at);
      const forged = `${head}.${payload}.${changed.toString("base64url")}`;
      await expect(verifyVisitorToken(secrets, forged, NOW)).rejects.toMatchObject(refused);
    }
  });
});

test("without a key nothing is signed", async () => {
  await expect(signVisitorToken({ keys: [] }, claims, NOW)).rejects.toThrow("no master key");
});
