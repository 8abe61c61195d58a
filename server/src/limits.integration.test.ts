import { defaultRateLimits, parseRateLimits, type RateLimits } from "@agent-engine/core/config/rate-limits.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import { io, type Socket } from "socket.io-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startServer, type RunningServer } from "./main.ts";
import {
  call,
  converse,
  ORIGIN,
  scopedKey,
  startServerFixture,
  visit,
  type Call,
  type ServerFixture,
} from "./server-fixture.ts";

const production = defaultRateLimits("production");
let redis: TestRedis;
let fixture: ServerFixture;
const ends: (() => unknown)[] = [];

beforeAll(async () => {
  redis = await startRedis();
  fixture = await startServerFixture({ redisUrl: redis.url });
});
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});
afterAll(async () => {
  await fixture.stop();
  await redis.stop();
});

let addresses = 0;
/** An address that no other test has used: counts last a minute. */
const somewhere = (): string => `198.51.100.${++addresses}`;

/** A server of the same installation with limits of its own. */
async function serve(limits: Partial<RateLimits>, redisUrl: string | null = redis.url): Promise<RunningServer> {
  const server = await startServer({
    services: fixture.services,
    config: {
      redisUrl,
      publicUrl: null,
      trustedProxyHops: 1,
      rateLimits: { ...defaultRateLimits("test"), ...limits },
    },
    port: 0,
  });
  ends.push(() => server.stop());
  return server;
}

const ask = (server: { url: string }, token: string, from = somewhere(), path = "/v1/conversations", more: Call = {}) =>
  call(server, more.body === undefined ? "GET" : "POST", path, {
    ...more,
    token,
    headers: { "x-forwarded-for": from, ...more.headers },
  });

async function statuses(answers: Promise<{ status: number }>[]): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  for (const { status } of await Promise.all(answers)) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

const someVisitor = async (): Promise<string> => (await visit(fixture)).visitorToken;
const someKey = (): Promise<string> => scopedKey(fixture, "*");

describe("a request over its limit", () => {
  test("is answered 429 with the problem, when to come back, and where it stands", async () => {
    const server = await serve({ "read.visitor": 2 });
    const token = await someVisitor();
    await ask(server, token);
    expect((await ask(server, token)).status).toBe(200);
    const { status, headers, body } = await ask(server, token, somewhere(), "/v1/conversations", {
      headers: { origin: ORIGIN },
    });
    expect(status).toBe(429);
    expect(body).toMatchObject({ code: "rate_limited", status: 429, limit: "read.visitor" });
    expect(body.detail).toMatch(/^2 a minute is the limit here \(`read.visitor`\)\. Try again in \d+ s\.$/);
    const retryAfter = Number(headers.get("retry-after"));
    expect(retryAfter).toBeGreaterThan(0);
    expect(retryAfter).toBeLessThanOrEqual(60);
    expect(headers.get("ratelimit-limit")).toBe("2");
    expect(headers.get("ratelimit-remaining")).toBe("0");
    expect(Number(headers.get("ratelimit-reset"))).toBe(retryAfter);
    expect(headers.get("ratelimit-policy")).toBe(`"read.visitor";q=2;w=60`);
    expect(headers.get("ratelimit")).toBe(`"read.visitor";r=0;t=${retryAfter}`);
    expect(headers.get("access-control-expose-headers")).toContain("ratelimit-remaining");
  });

  test("does nothing: its message is not stored", async () => {
    const server = await serve({ "message.visitor": 1 });
    const token = await someVisitor();
    const { id } = await converse(fixture, token);
    const send = (n: number) =>
      ask(server, token, somewhere(), `/v1/conversations/${id}/messages`, {
        body: { clientMessageId: `m${n}`, text: `m${n}` },
      });
    expect((await send(1)).status).toBe(202);
    expect((await send(2)).status).toBe(429);
    const { body } = await call<{ items: { event: { type: string; delta?: string } }[] }>(
      fixture,
      "GET",
      `/v1/conversations/${id}/events`,
      { token },
    );
    const said = body.items
      .filter(({ event }) => event.type === "TEXT_MESSAGE_CONTENT")
      .map(({ event }) => event.delta);
    expect(said).toEqual(["m1"]);
  });
});

test("an answer within the limits says where it stands with the one it is closest to", async () => {
  const server = await serve({ "read.visitor": 1_000, "read.tenant": 1_000_000 });
  const { headers } = await ask(server, await someVisitor());
  expect(headers.get("ratelimit-limit")).toBe("1000");
  expect(headers.get("ratelimit-remaining")).toBe("999");
  expect(headers.get("retry-after")).toBeNull();
});

test("what nobody counts says nothing", async () => {
  const server = await serve({});
  for (const path of ["/healthz", "/openapi.json"]) {
    expect((await call(server, "GET", path)).headers.get("ratelimit-limit")).toBeNull();
  }
});

describe("two servers", () => {
  test("count together: exactly the limit passes, whichever they ask", async () => {
    const limits = { "message.key": 6 };
    const servers = [await serve(limits), await serve(limits)];
    const token = await someKey();
    const start = (n: number) =>
      ask(servers[n % 2] as RunningServer, token, somewhere(), "/v1/runs", {
        body: { agentId: fixture.demo.agentId, input: "hello" },
      });
    expect(await statuses(Array.from({ length: 20 }, (_, n) => start(n)))).toEqual({ 202: 6, 429: 14 });
  });

  test("without Redis count each for itself, and answer", async () => {
    const servers = [await serve({ "read.key": 3 }, null), await serve({ "read.key": 3 }, null)];
    const token = await someKey();
    for (const server of servers) {
      expect(await statuses(Array.from({ length: 5 }, () => ask(server, token)))).toEqual({ 200: 3, 429: 2 });
    }
  });

  test("go on when Redis goes away, with the limits in force at each", async () => {
    const own = await startRedis();
    const server = await serve({ "write.visitor": 3 }, own.url);
    const token = await someVisitor();
    await own.stop();
    const create = () => ask(server, token, somewhere(), "/v1/conversations", { body: {} });
    expect(await statuses(Array.from({ length: 6 }, create))).toEqual({ 201: 3, 429: 3 });
  });
});

describe("each is counted for itself", () => {
  test("reads, writes and messages", async () => {
    const server = await serve({ "read.visitor": 1, "write.visitor": 1, "message.visitor": 1 });
    const token = await someVisitor();
    expect((await ask(server, token)).status).toBe(200);
    const created = await ask(server, token, somewhere(), "/v1/conversations", { body: {} });
    expect(created.status).toBe(201);
    const { id } = created.body as unknown as { id: string };
    const body = { clientMessageId: "m", text: "hi" };
    expect((await ask(server, token, somewhere(), `/v1/conversations/${id}/messages`, { body })).status).toBe(202);
  });

  test("one visitor's haste holds up no other's", async () => {
    const server = await serve({ "read.visitor": 1 });
    const [hasty, calm] = [await someVisitor(), await someVisitor()];
    await statuses(Array.from({ length: 5 }, () => ask(server, hasty)));
    expect((await ask(server, calm)).status).toBe(200);
  });

  test("nobody uses up a conversation's share but whoever writes in it", async () => {
    const server = await serve({ "message.conversation": 1 });
    const [owner, stranger] = [await someVisitor(), await someVisitor()];
    const { id } = await converse(fixture, owner);
    const send = (token: string, n: number) =>
      ask(server, token, somewhere(), `/v1/conversations/${id}/messages`, {
        body: { clientMessageId: `m${n}`, text: "hi" },
      });
    expect((await send(stranger, 1)).status).toBe(404);
    expect((await send(owner, 2)).status).toBe(202);
    expect((await send(owner, 3)).status).toBe(429);
  });

  test("an address, before its credential is looked at, by what the trusted proxy saw", async () => {
    const server = await serve({ "read.address": 2 });
    const from = somewhere();
    expect((await ask(server, "sk_wrong", from)).status).toBe(401);
    expect((await ask(server, "sk_wrong", `6.6.6.6, ${from}`)).status).toBe(401);
    expect((await ask(server, await someKey(), `7.7.7.7, ${from}`)).status).toBe(429);
    expect((await ask(server, await someKey(), somewhere())).status).toBe(200);
  });

  test("visitor sessions by address and by tenant", async () => {
    const server = await serve({ "session.address": 1, "session.tenant": 2 });
    const enter = (from: string, { publishableKey } = fixture.other, origin = "https://other.example") =>
      call(server, "POST", "/v1/visitor-sessions", {
        body: { publishableKey },
        headers: { origin, "x-forwarded-for": from },
      });
    const from = somewhere();
    expect((await enter(from)).status).toBe(201);
    expect(await enter(from)).toMatchObject({ status: 429, body: { limit: "session.address" } });
    expect((await enter(somewhere())).status).toBe(201);
    expect(await enter(somewhere())).toMatchObject({ status: 429, body: { limit: "session.tenant" } });
  });
});

test("a tenant's own limits count within seconds, and for that tenant alone", async () => {
  const server = await serve({});
  const token = await someKey();
  const foreign = (
    await call<{ visitorToken: string }>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: fixture.other.publishableKey },
      headers: { origin: "https://other.example" },
    })
  ).body.visitorToken;
  const { rows } = await withOwner((db) =>
    db.query("update tenants set rate_limits = $2 where id = $1 returning id", [
      uuidOf(fixture.demo.tenantId),
      JSON.stringify({ "read.key": 1, "read.visitor": "many", nonsense: 3 }),
    ]),
  );
  expect(rows).toHaveLength(1);
  ends.push(() =>
    withOwner((db) => db.query("update tenants set rate_limits = null where id = $1", [uuidOf(fixture.demo.tenantId)])),
  );
  await waitFor(async () => ((await ask(server, token)).status === 429 ? true : null), {
    describe: "the tenant's own limit",
  });
  expect((await ask(server, await someVisitor())).status).toBe(200);
  expect(await statuses(Array.from({ length: 5 }, () => ask(server, foreign)))).toEqual({ 200: 5 });
});

describe("connections", () => {
  function connect(server: RunningServer, token: string, from = somewhere()): Promise<Socket> {
    const socket = io(server.url, {
      path: "/realtime",
      auth: { token },
      forceNew: true,
      reconnection: false,
      transports: ["websocket"],
      extraHeaders: { origin: ORIGIN, "x-forwarded-for": from },
    });
    ends.push(() => socket.disconnect());
    return new Promise((resolve, reject) => {
      socket.on("connect", () => resolve(socket));
      socket.on("connect_error", reject);
    });
  }

  async function stream(server: RunningServer, token: string, conversationId: string, from = somewhere()) {
    const abort = new AbortController();
    ends.push(() => abort.abort());
    const response = await fetch(`${server.url}/v1/conversations/${conversationId}/stream`, {
      headers: { authorization: `Bearer ${token}`, "x-forwarded-for": from },
      signal: abort.signal,
    });
    return { response, close: () => abort.abort() };
  }

  test("sockets and streams of a visitor count together; one that closes makes room", async () => {
    const server = await serve({ "connections.visitor": 2 });
    const token = await someVisitor();
    const { id } = await converse(fixture, token);
    const socket = await connect(server, token);
    const first = await stream(server, token, id);
    expect(first.response.status).toBe(200);
    await expect(connect(server, token)).rejects.toMatchObject({
      data: {
        code: "realtime_unavailable",
        retryable: true,
        detail: expect.stringContaining("2 connections are open already"),
      },
    });
    const refused = await stream(server, token, id);
    expect(refused.response.status).toBe(429);
    expect(await refused.response.json()).toMatchObject({ code: "rate_limited", limit: "connections.visitor" });
    first.close();
    await waitFor(async () => ((await stream(server, token, id)).response.status === 200 ? true : null), {
      describe: "room after a stream closed",
    });
    socket.disconnect();
    await waitFor(() => connect(server, token).catch(() => null), { describe: "room after a socket closed" });
  });

  test("an address and a tenant have their own", async () => {
    const server = await serve({ "connections.address": 1, "connections.tenant": 2 });
    const from = somewhere();
    await connect(server, await someVisitor(), from);
    await expect(connect(server, await someVisitor(), from)).rejects.toMatchObject({
      data: { detail: expect.stringContaining("connections.address") },
    });
    await connect(server, await someVisitor());
    await expect(connect(server, await someVisitor())).rejects.toMatchObject({
      data: { detail: expect.stringContaining("connections.tenant") },
    });
  });

  test("connecting is a request too", async () => {
    const server = await serve({ "read.address": 1 });
    const from = somewhere();
    (await connect(server, await someVisitor(), from)).disconnect();
    await expect(connect(server, await someVisitor(), from)).rejects.toMatchObject({
      data: { code: "realtime_unavailable", retryable: true },
    });
  });
});

describe("RATE_LIMITS", () => {
  test("changes those it names", () => {
    expect(parseRateLimits("message.visitor=40, read.key = 12000")).toEqual({
      "message.visitor": 40,
      "read.key": 12_000,
    });
    expect(Object.keys(parseRateLimits("all=5,read.key=6") ?? {})).toEqual(Object.keys(production));
    expect(parseRateLimits("all=5,read.key=6")).toMatchObject({ "read.key": 6, "write.key": 5 });
  });

  test.each([
    "",
    "message=40",
    "message.visitor",
    "message.visitor=0",
    "message.visitor=-1",
    "a.b=1",
    "read.key=1;2",
    "toString=1",
  ])("is refused as %j", (text) => {
    expect(parseRateLimits(text)).toBeNull();
  });

  test("outside production they are a hundredfold", () => {
    expect(defaultRateLimits("development")["message.visitor"]).toBe(100 * production["message.visitor"]);
  });
});

async function withOwner<T>(work: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: fixture.ownerUrl });
  await db.connect();
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}
