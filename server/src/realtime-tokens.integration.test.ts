/** Members' sockets: opened with a token of a minute, never with a cookie, and no longer than what they stand on. */
import { createHmac } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { io, type Socket } from "socket.io-client";
import { signRealtimeToken } from "@agent-engine/core/members/realtime-token.ts";
import { signingSecret } from "@agent-engine/core/members/session-cookie.ts";
import type { RealtimeToken } from "@agent-engine/protocol/administration.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Problem } from "@agent-engine/protocol/resources.ts";
import {
  REALTIME_PATH,
  type ClientToServer,
  type RealtimeRefusal,
  type ServerToClient,
} from "@agent-engine/protocol/realtime.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { callAs, enroll, member, person, signIn, type Person } from "./people-fixture.ts";
import { call, converse, ORIGIN, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

const CONSOLE = "https://console.example";

let fixture: ServerFixture;
const sockets: Socket[] = [];
beforeAll(async () => {
  fixture = await startServerFixture({ accounts: { consoleUrl: CONSOLE } });
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect();
});
afterAll(() => fixture.stop());

const ask = (who: Person, headers: Record<string, string> = {}) =>
  callAs<RealtimeToken & Problem>(fixture, who, "POST", "/v1/realtime-tokens", { headers });

type Client = Socket<ServerToClient, ClientToServer>;

/** Resolves once it is connected; rejects with the refusal. */
async function connect(
  auth: Record<string, unknown>,
  headers: Record<string, string> = { origin: CONSOLE },
  transport: "websocket" | "polling" = "websocket",
): Promise<Client> {
  const socket: Client = io(fixture.url, {
    path: REALTIME_PATH,
    auth,
    transports: [transport],
    forceNew: true,
    reconnection: false,
    extraHeaders: headers,
  });
  sockets.push(socket);
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", (error) => reject((error as Error & { data?: RealtimeRefusal }).data ?? error));
  });
  return socket;
}

async function connected(who: Person): Promise<Client> {
  const { body } = await ask(who);
  return connect({ token: body.token });
}

const untilClosed = (socket: Client) =>
  waitFor(() => !socket.connected, { describe: "the socket to be closed", timeoutMs: 10_000 });

describe("a member's socket", () => {
  test("reads the tenant's conversations as staff, from the console's origin and from no page at all", async () => {
    const operator = await member(fixture, "operator");
    const { id } = await converse(fixture, (await visit(fixture)).visitorToken);
    const { status, body } = await ask(operator);
    expect(status).toBe(201);
    expect(Date.parse(body.expiresAt) - Date.now()).toBeLessThanOrEqual(60_000);
    for (const headers of [{ origin: CONSOLE }, { origin: fixture.url }, {}]) {
      const socket = await connect({ token: body.token }, headers as Record<string, string>);
      expect(await socket.emitWithAck("subscribe", { conversationId: id, after: 0 })).toMatchObject({ lastSeq: 0 });
    }
    await connect({ token: body.token }, { origin: CONSOLE }, "polling");
  });

  test("of another tenant finds nothing", async () => {
    const stranger = await member(fixture, "owner", fixture.other.tenantId);
    const { id } = await converse(fixture, (await visit(fixture)).visitorToken);
    const socket = await connected(stranger);
    expect(await socket.emitWithAck("subscribe", { conversationId: id, after: 0 })).toMatchObject({
      error: { code: "not_found" },
    });
  });

  test.each(["https://evil.example", ORIGIN, "null", "https://console.example.evil.example"])(
    "is refused to a page of %s, token or not",
    async (origin) => {
      const { body } = await ask(await member(fixture, "viewer"));
      await expect(connect({ token: body.token }, { origin })).rejects.toMatchObject({ code: "origin_not_allowed" });
    },
  );

  test("is never opened by the cookie", async () => {
    const { cookie } = await member(fixture, "owner");
    for (const origin of [CONSOLE, fixture.url, "https://evil.example"]) {
      await expect(connect({}, { cookie, origin })).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });
});

describe("a token", () => {
  test.each(["https://evil.example", "null", ORIGIN])("is not given to a page of %s", async (origin) => {
    const somebody = await member(fixture, "owner");
    expect((await ask(somebody, { origin })).body.code).toBe("origin_not_allowed");
  });

  test("is not given without an origin, nor to keys, visitors or nobody", async () => {
    const { cookie } = await member(fixture, "owner");
    const path = "/v1/realtime-tokens";
    expect((await call(fixture, "POST", path, { headers: { cookie } })).body.code).toBe("origin_not_allowed");
    for (const token of [fixture.demo.secretKey, (await visit(fixture)).visitorToken]) {
      expect((await call(fixture, "POST", path, { token })).status).toBe(401);
    }
    expect((await call(fixture, "POST", path)).status).toBe(401);
  });

  test("opens no route", async () => {
    const { body } = await ask(await member(fixture, "owner"));
    expect((await call(fixture, "GET", "/v1/conversations", { token: body.token })).status).toBe(401);
  });

  test("is for the tenant that was chosen", async () => {
    const somebody = await person(fixture);
    await enroll(fixture, fixture.demo.tenantId, somebody, "viewer");
    expect((await ask(somebody, { "x-tenant-id": fixture.other.tenantId })).status).toBe(404);
    await enroll(fixture, fixture.other.tenantId, somebody, "viewer");
    expect((await ask(somebody)).status).toBe(400);
    const { id } = await converse(fixture, (await visit(fixture)).visitorToken);
    const seen = async (tenantId: TenantId) => {
      const socket = await connect({ token: (await ask(somebody, { "x-tenant-id": tenantId })).body.token });
      return socket.emitWithAck("subscribe", { conversationId: id, after: 0 });
    };
    expect(await seen(fixture.demo.tenantId)).toMatchObject({ lastSeq: 0 });
    expect(await seen(fixture.other.tenantId)).toMatchObject({ error: { code: "not_found" } });
  });

  test("that ended, was altered, or was signed for another purpose is refused", async () => {
    const somebody = await member(fixture, "owner");
    const { token } = (await ask(somebody)).body;
    const { services } = fixture;
    const [head = "", payload = "", signature = ""] = token.slice(3).split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as { session: string };
    const membership = {
      tenantId: fixture.demo.tenantId,
      tenantName: "",
      memberId: somebody.memberId,
      role: "owner",
    } as const;
    const of = { sessionId: claims.session, member: membership };
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const sign = (key: string, text: string) => createHmac("sha256", key).update(text).digest("base64url");
    const other = encode({ ...claims, sub: (await member(fixture, "owner")).memberId });
    const [master = ""] = services.secrets.keys;
    for (const forged of [
      (await signRealtimeToken(services.secrets, of, Date.now() - 61_000)).token,
      (await signRealtimeToken({ keys: ["another-master-key-that-is-long-enough"] }, of, Date.now())).token,
      (await signRealtimeToken(services.secrets, { ...of, sessionId: "session_x" }, Date.now())).token,
      `rt_${head}.${other}.${signature}`,
      `rt_${encode({ alg: "none", typ: "JWT" })}.${payload}.`,
      `rt_${head}.${payload}.${sign(signingSecret(master), `${head}.${payload}`)}`,
      `rt_${head}.${payload}.${sign(master, `${head}.${payload}`)}`,
      `rt_${(await visit(fixture)).visitorToken}`,
      "rt_",
      token.slice(3),
    ]) {
      await expect(connect({ token: forged })).rejects.toMatchObject({ code: "unauthenticated" });
    }
    await connect({ token });
  });

  test("holds nothing that the cookie holds", async () => {
    const somebody = await member(fixture, "viewer");
    const { token } = (await ask(somebody)).body;
    const secret = decodeURIComponent(somebody.cookie.split("=")[1] ?? "").split(".")[0] ?? "";
    expect(secret.length).toBeGreaterThan(20);
    expect(Buffer.from(token.slice(3).split(".")[1] ?? "", "base64url").toString()).not.toContain(secret);
  });
});

describe("ends, and opens no other, when", () => {
  async function opened() {
    const somebody = await member(fixture, "operator");
    const { token } = (await ask(somebody)).body;
    return { somebody, token, socket: await connect({ token }) };
  }

  const refused = (token: string) =>
    expect(connect({ token })).rejects.toMatchObject({ code: "unauthenticated", retryable: false });

  test("the session is revoked, from another browser", async () => {
    const { somebody, token, socket } = await opened();
    const elsewhere = await signIn(fixture, somebody.email);
    const other = await connected({ ...somebody, cookie: elsewhere });
    const { status } = await callAs(fixture, { cookie: elsewhere }, "POST", "/api/auth/revoke-other-sessions", {
      body: {},
    });
    expect(status).toBe(200);
    await refused(token);
    await untilClosed(socket);
    expect(other.connected).toBe(true);
  });

  test("the member signs out", async () => {
    const { somebody, token, socket } = await opened();
    await callAs(fixture, somebody, "POST", "/api/auth/sign-out", { body: {} });
    await refused(token);
    await untilClosed(socket);
  });

  test("the member is removed", async () => {
    const { somebody, token, socket } = await opened();
    const path = `/v1/members/${somebody.memberId}`;
    expect((await call(fixture, "DELETE", path, { token: fixture.demo.secretKey })).status).toBe(204);
    await refused(token);
    await untilClosed(socket);
  });

  test("their role is another: the next one has what it is now", async () => {
    const { somebody, socket } = await opened();
    const path = `/v1/members/${somebody.memberId}`;
    await call(fixture, "PATCH", path, { token: fixture.demo.secretKey, body: { role: "viewer" } });
    await untilClosed(socket);
    await connected(somebody);
  });
});
