import { SignJWT, UnsecuredJWT, decodeProtectedHeader } from "jose";
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

const whole = { tenant: claims.tenantId, site: claims.siteId, agent: claims.agentId, origin: claims.origin };

test("a token says who it was made for, where, and until when", async () => {
  const { token, expiresAt } = await signVisitorToken(secrets, claims, NOW);
  expect(expiresAt).toBe(new Date(END).toISOString());
  expect(await verifyVisitorToken(secrets, token, NOW)).toEqual({ ...claims, expiresAt: END });
  expect(await verifyVisitorToken(secrets, token, END - 1_000)).toEqual({ ...claims, expiresAt: END });
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

describe("forgeries are refused, all in the same words", () => {
  test("alg none, with and without our key's name", async () => {
    const unsecured = new UnsecuredJWT({ ...whole, sub: claims.visitorId })
      .setIssuer("agent-engine")
      .setAudience("visitor")
      .setExpirationTime(END / 1_000)
      .encode();
    const { kid } = decodeProtectedHeader(await signed());
    const header = Buffer.from(JSON.stringify({ alg: "none", kid })).toString("base64url");
    const [, payload] = unsecured.split(".");
    for (const token of [unsecured, `${header}.${payload}.`, `${header}.${payload}.AAAA`]) {
      await expect(verifyVisitorToken(secrets, token, NOW)).rejects.toMatchObject(refused);
    }
  });

  test("every single byte changed", async () => {
    const token = await signed();
    const [header = "", payload = "", signature = ""] = token.split(".");
    const bytes = Buffer.from(signature, "base64url");
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed.writeUInt8((changed.readUInt8(at) + 1) % 256, at);
      const forged = `${header}.${payload}.${changed.toString("base64url")}`;
      await expect(verifyVisitorToken(secrets, forged, NOW)).rejects.toMatchObject(refused);
    }
    const other = {
      ...JSON.parse(Buffer.from(payload, "base64url").toString()),
      tenant: id("tenant").replace("0", "1"),
    };
    const swapped = `${header}.${Buffer.from(JSON.stringify(other)).toString("base64url")}.${signature}`;
    await expect(verifyVisitorToken(secrets, swapped, NOW)).rejects.toMatchObject(refused);
  });

  test.each(["", ".", "..", "a.b.c", "null", "Bearer x", "e30.e30.e30", "\u0000", "x".repeat(10_000)])(
    "%j",
    async (token) => {
      await expect(verifyVisitorToken(secrets, token, NOW)).rejects.toMatchObject(refused);
    },
  );

  test("for another audience or from another issuer", async () => {
    expect(await verifyVisitorToken(secrets, await forge(whole), NOW)).toMatchObject(claims);
    for (const more of [{ audience: "member" }, { issuer: "elsewhere" }]) {
      await expect(verifyVisitorToken(secrets, await forge(whole, more), NOW)).rejects.toMatchObject(refused);
    }
  });

  test.each(["tenant", "site", "agent", "origin"] as const)("without %s, or with one that is none", async (name) => {
    for (const value of [undefined, null, "", 1, id("run"), ["x"]]) {
      if (name === "origin" && typeof value === "string") continue;
      const token = await forge({ ...whole, [name]: value });
      await expect(verifyVisitorToken(secrets, token, NOW), String(value)).rejects.toMatchObject(refused);
    }
  });

  test("with a subject that is no visitor", async () => {
    for (const subject of ["", "admin", id("run"), "visitor_1"]) {
      await expect(verifyVisitorToken(secrets, await forge(whole, { subject }), NOW)).rejects.toMatchObject(refused);
    }
  });

  test("say the same to everybody", async () => {
    const words = new Set<string>();
    for (const token of ["", "a.b.c", await forge({}), await forge(whole, { audience: "member" })]) {
      await verifyVisitorToken(secrets, token, NOW).catch((error: Error) => words.add(error.message));
    }
    expect(words.size).toBe(1);
  });
});

test("without a key nothing is signed", async () => {
  await expect(signVisitorToken({ keys: [] }, claims, NOW)).rejects.toThrow("no master key");
});
