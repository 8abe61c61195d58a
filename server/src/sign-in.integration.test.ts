import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Me } from "@agent-engine/protocol/administration.ts";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startServer } from "./main.ts";
import { callAs, cookieOf, enroll, member, PASSWORD, person, signIn, trySignIn } from "./people-fixture.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

const OLD_KEY = "o".repeat(40);
const CONSOLE = "https://console.example";

let fixture: ServerFixture;
let mails: MailServer;
beforeAll(async () => {
  mails = await startMailServer();
  fixture = await startServerFixture({
    secretKeys: [OLD_KEY],
    accounts: {
      consoleUrl: CONSOLE,
      signUp: "open",
      mail: { smtpUrl: mails.url, from: "Agent Engine <no-reply@example.com>" },
    },
  });
});
afterAll(async () => {
  await fixture.stop();
  await mails.stop();
});

/** The last mail to an address, once it is there. */
async function mailTo(email: string, subject: RegExp) {
  const find = () => mails.received.findLast((mail) => mail.to === email && subject.test(mail.subject));
  return waitFor(find, { describe: `a mail to ${email}` });
}

function linkOf(text: string): URL {
  return new URL(/https?:\/\/\S+/.exec(text)?.[0] ?? "");
}

const auth = <T = { status?: boolean }>(path: string, body: unknown, headers: Record<string, string> = {}) =>
  call<T>(fixture, "POST", `/api/auth${path}`, { body, headers: { origin: fixture.url, ...headers } });

describe("the session's cookie", () => {
  test("is http-only, lax and of this host alone", async () => {
    const { email } = await member(fixture, "owner");
    const answer = await trySignIn(fixture, email, PASSWORD);
    const cookies = answer.headers.getSetCookie();
    expect(cookies.map((each) => each.slice(0, each.indexOf("="))).toSorted()).toEqual([
      "agent-engine.known_browser",
      "agent-engine.session_token",
    ]);
    for (const cookie of cookies) {
      expect(cookie).toMatch(/; HttpOnly/i);
      expect(cookie).toMatch(/; SameSite=Lax/i);
      expect(cookie).not.toMatch(/; Domain/i);
    }
  });

  test("is secure in production", async () => {
    const production = await startServerFixture({
      accounts: { nodeEnv: "production", publicUrl: "https://api.example" },
    });
    try {
      const { email } = await member(production, "owner");
      const answer = await trySignIn(production, email, PASSWORD);
      for (const cookie of answer.headers.getSetCookie()) {
        expect(cookie).toMatch(/^__Secure-agent-engine\.(session_token|known_browser)=.*; Secure/i);
      }
      const insecure = cookieOf(answer).replace("__Secure-", "");
      expect((await call(production, "GET", "/v1/me", { headers: { cookie: insecure } })).status).toBe(401);
    } finally {
      await production.stop();
    }
  });

  test("opens the API for a member, and nothing when it was tampered with", async () => {
    const { cookie, memberId, email } = await member(fixture, "viewer");
    const { status, body } = await callAs<Me>(fixture, { cookie }, "GET", "/v1/me");
    expect(status).toBe(200);
    expect(body).toMatchObject({
      user: { email },
      member: { id: memberId, tenantId: fixture.demo.tenantId, role: "viewer" },
      tenants: [{ id: fixture.demo.tenantId, role: "viewer" }],
    });
    expect(body.permissions).toContain("agents:read");
    expect(body.permissions).not.toContain("agents:write");
    expect((await callAs(fixture, { cookie }, "GET", "/v1/agents")).status).toBe(200);
    const [name, value = ""] = cookie.split("=");
    const other = value.startsWith("A") ? "B" : "A";
    for (const forged of [`${other}${value.slice(1)}`, value.split(".")[0] ?? "", `${value}x`, "%E0%A4%A", "a.b"]) {
      const answer = await callAs<Problem>(fixture, { cookie: `${name}=${forged}` }, "GET", "/v1/agents");
      expect([forged, answer.status, answer.body.code]).toEqual([forged, 401, "unauthenticated"]);
    }
  });

  test("goes on after the master key was rotated, through the API and through better-auth", async () => {
    const { cookie } = await member(fixture, "viewer");
    const services = { ...fixture.services, secrets: { keys: ["n".repeat(40), OLD_KEY] } };
    const rotated = await startServer({ services, config: { redisUrl: null, publicUrl: fixture.url }, port: 0 });
    const later = { ...fixture, url: rotated.url };
    try {
      expect((await call(later, "GET", "/v1/me", { headers: { cookie } })).status).toBe(200);
      const session = await call<{ user: unknown } | null>(later, "GET", "/api/auth/get-session", {
        headers: { cookie },
      });
      expect(session.body?.user).toBeTruthy();
      const gone = { ...services, secrets: { keys: ["n".repeat(40)] } };
      const without = await startServer({
        services: gone,
        config: { redisUrl: null, publicUrl: fixture.url },
        port: 0,
      });
      expect((await call(without, "GET", "/v1/me", { headers: { cookie } })).status).toBe(401);
      await without.stop();
    } finally {
      await rotated.stop();
    }
  });
});

describe("a request with a cookie from another page", () => {
  test.each([
    ["POST", "https://evil.example"],
    ["POST", "null"],
    ["POST", undefined],
    ["DELETE", undefined],
    ["GET", "https://evil.example"],
    ["GET", "https://shop.example"],
    ["PATCH", "http://localhost"],
  ])("%s from %s is refused", async (method, origin) => {
    const { cookie } = await sharedOwner();
    const path = ["POST", "GET"].includes(method) ? "/v1/sites" : `/v1/sites/${fixture.demo.siteId}`;
    const { status, body } = await call(fixture, method, path, {
      ...(method === "POST" || method === "PATCH" ? { body: { name: "Forged" } } : {}),
      headers: { cookie, ...(origin === undefined ? {} : { origin }) },
    });
    expect([status, body.code]).toEqual([403, "origin_not_allowed"]);
  });

  test("is welcome from the console and from the API's own origin, by either name of this machine", async () => {
    const { cookie } = await sharedOwner();
    for (const origin of [CONSOLE, fixture.url, fixture.url.replace("localhost", "127.0.0.1")]) {
      const { status } = await call(fixture, "POST", "/v1/agents", {
        body: { name: "Ours" },
        headers: { cookie, origin },
      });
      expect([origin, status]).toEqual([origin, 201]);
    }
  });

  test("cannot sign anybody in or out", async () => {
    const { cookie, email } = await sharedOwner();
    const credentials = { email, password: PASSWORD };
    expect((await auth("/sign-in/email", credentials, { origin: "https://evil.example" })).status).toBe(403);
    expect((await auth("/sign-out", {}, { cookie, origin: "https://evil.example" })).status).toBe(403);
    const withoutOrigin = await call(fixture, "POST", "/api/auth/sign-out", { body: {}, headers: { cookie } });
    expect(withoutOrigin.status).toBe(403);
    expect((await callAs(fixture, { cookie }, "GET", "/v1/me")).status).toBe(200);
  });

  test("does not make a secret key any less of a credential", async () => {
    const { cookie } = await sharedOwner();
    const { status } = await call(fixture, "POST", "/v1/agents", {
      token: fixture.demo.secretKey,
      body: { name: "By key" },
      headers: { cookie },
    });
    expect(status).toBe(201);
  });
});

let owner: Promise<Awaited<ReturnType<typeof member>>> | undefined;
function sharedOwner() {
  return (owner ??= member(fixture, "owner"));
}

describe("sessions", () => {
  test("are listed, and end with the next request once they are revoked", async () => {
    const { email, cookie } = await member(fixture, "viewer");
    const elsewhere = await signIn(fixture, email);
    const { body } = await callAs<{ token: string }[]>(fixture, { cookie }, "GET", "/api/auth/list-sessions");
    expect(body).toHaveLength(2);
    expect((await callAs(fixture, { cookie: elsewhere }, "GET", "/v1/agents")).status).toBe(200);
    const [, value = ""] = elsewhere.split("=");
    const token = decodeURIComponent(value).split(".")[0];
    expect((await auth("/revoke-session", { token }, { cookie })).status).toBe(200);
    expect((await callAs(fixture, { cookie: elsewhere }, "GET", "/v1/agents")).status).toBe(401);
    expect((await callAs(fixture, { cookie }, "GET", "/v1/agents")).status).toBe(200);
    expect((await auth("/sign-out", {}, { cookie })).status).toBe(200);
    expect((await callAs(fixture, { cookie }, "GET", "/v1/agents")).status).toBe(401);
  });

  test("of a member who was removed, or whose role changed, count for what they are now", async () => {
    const { cookie, memberId } = await member(fixture, "admin");
    const { secretKey } = fixture.demo;
    expect((await callAs(fixture, { cookie }, "POST", "/v1/agents", { body: { name: "One" } })).status).toBe(201);
    await call(fixture, "PATCH", `/v1/members/${memberId}`, { token: secretKey, body: { role: "viewer" } });
    expect((await callAs(fixture, { cookie }, "POST", "/v1/agents", { body: { name: "Two" } })).status).toBe(403);
    await call(fixture, "DELETE", `/v1/members/${memberId}`, { token: secretKey });
    expect((await callAs(fixture, { cookie }, "GET", "/v1/agents")).status).toBe(403);
  });
});

describe("a person of several tenants", () => {
  test("chooses one for each request, and none that is not theirs", async () => {
    const somebody = await person(fixture);
    await enroll(fixture, fixture.demo.tenantId, somebody, "viewer");
    await enroll(fixture, fixture.other.tenantId, somebody, "owner");
    const open = await callAs<Problem>(fixture, somebody, "GET", "/v1/sites");
    expect([open.status, open.body.detail]).toEqual([400, expect.stringContaining("X-Tenant-Id")]);
    const me = await callAs<Me>(fixture, somebody, "GET", "/v1/me");
    expect(me.body.member).toBeNull();
    expect(me.body.permissions).toEqual([]);
    expect(me.body.tenants.map(({ id }) => id).toSorted()).toEqual(
      [fixture.demo.tenantId, fixture.other.tenantId].toSorted(),
    );
    const inTenant = (tenantId: string, method: string, body?: unknown) =>
      callAs<{ items: { publishableKey: string }[] }>(fixture, somebody, method, "/v1/sites", {
        body,
        headers: { "x-tenant-id": tenantId },
      });
    expect((await inTenant(fixture.other.tenantId, "GET")).body.items[0]?.publishableKey).toBe(
      fixture.other.publishableKey,
    );
    expect((await inTenant(fixture.demo.tenantId, "POST", {})).status).toBe(403);
    for (const foreign of ["tenant_00000000000000000000000000000000", "nonsense", ""]) {
      expect((await inTenant(foreign, "GET")).status).toBe(404);
    }
  });

  test("of none is told so", async () => {
    const somebody = await person(fixture);
    const { status, body } = await callAs<Problem>(fixture, somebody, "GET", "/v1/agents");
    expect([status, body.detail]).toEqual([403, expect.stringContaining("member of no tenant")]);
  });
});

describe("a forgotten password", () => {
  test("is replaced through a mail, once, and every session ends", async () => {
    const { email, cookie } = await member(fixture, "viewer");
    expect((await auth("/request-password-reset", { email })).status).toBe(200);
    const mail = await mailTo(email, /new password/i);
    const link = linkOf(mail.text);
    expect(link.origin).toBe(CONSOLE);
    // In the fragment, which reaches no server.
    expect(link.search).toBe("");
    const token = new URLSearchParams(link.hash.slice(1)).get("token");
    const newPassword = "a different password";
    expect((await auth("/reset-password", { token, newPassword: "short" })).status).toBe(400);
    expect((await auth("/reset-password", { token, newPassword })).status).toBe(200);
    expect((await callAs(fixture, { cookie }, "GET", "/v1/me")).status).toBe(401);
    expect((await trySignIn(fixture, email, PASSWORD)).status).toBe(401);
    expect((await trySignIn(fixture, email, newPassword)).status).toBe(200);
    expect((await auth("/reset-password", { token, newPassword: "yet another password" })).status).toBe(400);
  });

  test("is answered the same for an address nobody has", async () => {
    const answer = await auth("/request-password-reset", { email: "nobody@example.com" });
    expect(answer.status).toBe(200);
    expect(mails.received.filter(({ to }) => to === "nobody@example.com")).toEqual([]);
  });
});

describe("where sign-up is open", () => {
  test("an address is confirmed by mail before it signs in, and then makes a tenant of its own", async () => {
    const email = "new@example.com";
    const body = { email, password: PASSWORD, name: "New" };
    const signUp = await auth<{ token: string | null }>("/sign-up/email", body);
    expect([signUp.status, signUp.body.token, signUp.headers.getSetCookie()]).toEqual([200, null, []]);
    expect((await trySignIn(fixture, email, PASSWORD)).status).toBe(403);
    const link = linkOf((await mailTo(email, /confirm/i)).text);
    expect([link.origin, link.pathname, link.search]).toEqual([CONSOLE, "/verify-email", ""]);
    const token = new URLSearchParams(link.hash.slice(1)).get("token") ?? "";
    const verify = (value: string) => call(fixture, "GET", `/api/auth/verify-email?token=${value}`);
    expect((await verify(`${token}x`)).status).toBe(401);
    expect((await verify(token)).status).toBe(200);
    const cookie = await signIn(fixture, email);
    const made = await callAs<{ id: string }>(fixture, { cookie }, "POST", "/v1/tenants", {
      body: { name: "New Ltd" },
    });
    expect(made.status).toBe(201);
    const me = await callAs<Me>(fixture, { cookie }, "GET", "/v1/me");
    expect(me.body).toMatchObject({
      member: { tenantId: made.body.id, role: "owner" },
      tenants: [{ name: "New Ltd" }],
    });
    // A second sign-up with the address tells nobody that it is taken.
    expect((await auth("/sign-up/email", body)).status).toBe(200);
  });
});

test("what nobody may guess reaches no log, and mails leave no trace of their links", async () => {
  const log = JSON.stringify(fixture.logged);
  expect(mails.received.length).toBeGreaterThan(1);
  for (const { text } of mails.received) {
    const link = linkOf(text);
    const token = new URLSearchParams(link.hash.slice(1)).get("token") ?? "";
    expect(token.length).toBeGreaterThan(20);
    expect(log).not.toContain(token);
  }
  expect(log).not.toContain(PASSWORD);
});

describe("wrong passwords for one account", () => {
  const browserOf = (answer: { headers: Headers }) =>
    answer.headers
      .getSetCookie()
      .find((each) => each.includes("known_browser="))
      ?.split(";")[0] ?? "";

  let from = 0;
  const attempt = (email: string, password: string, cookie?: string, url = fixture.url) =>
    call<{ code?: string }>({ url }, "POST", "/api/auth/sign-in/email", {
      body: { email, password },
      headers: {
        origin: url,
        "x-forwarded-for": `198.19.${++from >> 8}.${from & 255}`,
        ...(cookie === undefined ? {} : { cookie }),
      },
    });

  async function guess(email: string, times: number, cookie?: string): Promise<number[]> {
    return (await Promise.all(Array.from({ length: times }, () => attempt(email, "wrong password", cookie)))).map(
      ({ status }) => status,
    );
  }

  const inOrder = (statuses: number[]): number[] => statuses.toSorted((one, other) => one - other);

  test("are limited whatever address they come from and whoever is asked; from then on the right one is not tried", async () => {
    const { email } = await member(fixture, "viewer");
    const other = await startServer({
      services: fixture.services,
      config: { redisUrl: null, publicUrl: fixture.url, trustedProxyHops: 1 },
      port: 0,
    });
    try {
      expect(inOrder(await guess(email, 12))).toEqual([...Array.from({ length: 10 }, () => 401), 429, 429]);
      for (const spelled of [email, email.toUpperCase()]) {
        const answer = await call<{ code?: string }>(other, "POST", "/api/auth/sign-in/email", {
          body: { email: spelled, password: PASSWORD },
          headers: { origin: fixture.url, "x-forwarded-for": "203.0.113.200" },
        });
        expect([answer.status, answer.body.code]).toEqual([429, "TOO_MANY_WRONG_PASSWORDS"]);
        expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
        expect(Number(answer.headers.get("retry-after"))).toBeLessThanOrEqual(900);
        expect(answer.headers.getSetCookie()).toEqual([]);
      }
    } finally {
      await other.stop();
    }
  });

  test("tell nobody whether there is such an account", async () => {
    expect(inOrder(await guess("nobody-at-all@example.com", 12))).toEqual([
      ...Array.from({ length: 10 }, () => 401),
      429,
      429,
    ]);
  });

  test("of strangers do not keep out a browser that has signed in before, and its own are limited too", async () => {
    const { email } = await member(fixture, "viewer");
    const browser = browserOf(await attempt(email, PASSWORD));
    expect(browser).toMatch(/^agent-engine\.known_browser=./);
    await guess(email, 11);
    expect((await attempt(email, PASSWORD)).status).toBe(429);
    expect((await attempt(email, PASSWORD, browser)).status).toBe(200);
    const forged = `${browser.slice(0, -4)}AAAA`;
    expect((await attempt(email, PASSWORD, forged)).status).toBe(429);
    // Another account's browser is a stranger to this one.
    const { email: another } = await member(fixture, "viewer");
    expect((await attempt(email, PASSWORD, browserOf(await attempt(another, PASSWORD)))).status).toBe(429);
    expect(inOrder(await guess(email, 11, browser))).toEqual([...Array.from({ length: 10 }, () => 401), 429]);
  });

  test("are forgotten once whoever has the mailbox has chosen a new password", async () => {
    const { email } = await member(fixture, "viewer");
    await guess(email, 11);
    expect((await auth("/request-password-reset", { email })).status).toBe(200);
    const token = new URLSearchParams(linkOf((await mailTo(email, /new password/i)).text).hash.slice(1)).get("token");
    const newPassword = "a different password";
    expect((await auth("/reset-password", { token, newPassword })).status).toBe(200);
    expect((await attempt(email, newPassword)).status).toBe(200);
  });

  test("right ones use nothing up", async () => {
    const { email } = await member(fixture, "viewer");
    for (let n = 0; n < 12; n++) expect((await attempt(email, PASSWORD)).status).toBe(200);
  });

  test("by who holds a session are limited as well", async () => {
    const { cookie } = await member(fixture, "viewer");
    const change = (currentPassword: string) =>
      auth(
        "/change-password",
        { currentPassword, newPassword: "another password" },
        { cookie, "x-forwarded-for": `198.19.${++from >> 8}.${from & 255}` },
      );
    const statuses = await Promise.all(Array.from({ length: 11 }, async () => (await change("wrong password")).status));
    expect(inOrder(statuses)).toEqual([...Array.from({ length: 10 }, () => 400), 429]);
    expect((await change(PASSWORD)).status).toBe(429);
  });
});

test("guesses are limited for all servers together, and by whatever address they claim", async () => {
  const { services } = fixture;
  const servers = await Promise.all(
    [0, 1].map(() => startServer({ services, config: { redisUrl: null, publicUrl: null }, port: 0 })),
  );
  try {
    const statuses: number[] = [];
    for (let i = 0; i < 22; i++) {
      const url = servers[i % 2]?.url ?? "";
      const { status } = await call({ url }, "POST", "/api/auth/sign-in/email", {
        // Of another account each: how often one may be guessed is another limit.
        body: { email: `guessed${i}@example.com`, password: "wrong password" },
        headers: { origin: url, "x-forwarded-for": `203.0.113.${i}` },
      });
      statuses.push(status);
    }
    expect(statuses).toEqual([...Array.from({ length: 20 }, () => 401), 429, 429]);
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
});
