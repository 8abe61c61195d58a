/** What is revoked ends: on the server that hears of it, and on one that the bus tells nothing. */
import { io, type Socket } from "socket.io-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createMemoryBus } from "@agent-engine/core/events/memory-bus.ts";
import type { ApiKey, NewApiKey, Site } from "@agent-engine/protocol/administration.ts";
import {
  REALTIME_PATH,
  type ClientToServer,
  type RealtimeRefusal,
  type ServerToClient,
} from "@agent-engine/protocol/realtime.ts";
import type { Conversation, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { callAs, member } from "./people-fixture.ts";
import { startServer, type RunningServer } from "./main.ts";
import { call, converse, ORIGIN, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

/** From the revocation to the last word, on every server. */
const WITHIN_MS = 5_000;

let fixture: ServerFixture;
/** Its bus is its own: it learns of nothing but by asking Postgres. */
let deaf: RunningServer;
let secret: string;
const sockets: Socket[] = [];

beforeAll(async () => {
  fixture = await startServerFixture();
  const services = { ...fixture.services, bus: createMemoryBus() };
  deaf = await startServer({ services, config: { redisUrl: null, publicUrl: null, trustedProxyHops: 1 }, port: 0 });
  secret = fixture.demo.secretKey;
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.disconnect();
});
afterAll(async () => {
  await deaf.stop();
  await fixture.stop();
});

const servers = () => [fixture.url, deaf.url];

interface Live {
  /** What was said before it ended; null while it lasts. */
  ended: () => RealtimeRefusal | true | null;
}

async function socketOn(url: string, token: string, origin?: string): Promise<Live> {
  const socket: Socket<ServerToClient, ClientToServer> = io(url, {
    path: REALTIME_PATH,
    auth: { token },
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
    ...(origin === undefined ? {} : { extraHeaders: { origin } }),
  });
  sockets.push(socket);
  let goodbye: RealtimeRefusal | null = null;
  let isOver = false;
  socket.on("closing", (reason) => (goodbye = reason));
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  socket.on("disconnect", () => (isOver = true));
  return { ended: () => (isOver ? (goodbye ?? true) : null) };
}

async function streamOn(url: string, conversationId: string, headers: Record<string, string>): Promise<Live> {
  const response = await fetch(`${url}/v1/conversations/${conversationId}/stream`, { headers });
  expect(response.status).toBe(200);
  let isOver = false;
  void (async () => {
    for await (const _ of response.body ?? []);
    isOver = true;
  })().catch(() => (isOver = true));
  return { ended: () => isOver || null };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** A socket and a stream on each server. */
async function live(token: string, conversationId: string): Promise<Live[]> {
  return (
    await Promise.all(
      servers().map((url) => Promise.all([socketOn(url, token), streamOn(url, conversationId, bearer(token))])),
    )
  ).flat();
}

async function expectEnded(connections: Live[]): Promise<void> {
  await waitFor(() => connections.every(({ ended }) => ended() !== null), {
    describe: "every connection to be dropped",
    timeoutMs: WITHIN_MS,
  });
  for (const { ended } of connections) {
    const said = ended();
    if (said !== true) expect(said).toMatchObject({ code: "unauthenticated", retryable: true });
  }
}
const expectAlive = (connections: Live[]) => {
  for (const { ended } of connections) expect(ended()).toBeNull();
};

async function expectRefused(token: string): Promise<void> {
  for (const url of servers()) {
    await waitFor(async () => (await call({ url }, "GET", "/v1/conversations", { token })).status === 401, {
      describe: "requests to be refused",
      timeoutMs: WITHIN_MS,
    });
    await expect(socketOn(url, token)).rejects.toMatchObject({ data: { code: "unauthenticated" } });
  }
}

describe("a visitor's sockets and streams end on every server, and their requests are refused", () => {
  let session: VisitorSession;
  let conversation: Conversation;
  let theirs: Live[];
  let others: Live[];

  async function connect(): Promise<void> {
    session = await visit(fixture);
    conversation = await converse(fixture, session.visitorToken);
    theirs = await live(session.visitorToken, conversation.id);
    const neighbour = await visit(fixture);
    others = await live(neighbour.visitorToken, (await converse(fixture, neighbour.visitorToken)).id);
  }

  test("when staff end their sessions; a session opened after that is good", async () => {
    await connect();
    const path = `/v1/visitors/${session.visitor.id}/revoke-sessions`;
    expect((await call(fixture, "POST", path, { token: secret })).status).toBe(200);
    await expectEnded(theirs);
    await expectRefused(session.visitorToken);
    expectAlive(others);
    const renewed = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: fixture.demo.publishableKey, visitorToken: session.visitorToken },
      headers: { origin: ORIGIN },
    });
    expect(renewed.body.visitor.id).not.toBe(session.visitor.id);
    expect((await call(fixture, "GET", "/v1/conversations", { token: renewed.body.visitorToken })).status).toBe(200);
  });

  test("when they are erased", async () => {
    await connect();
    expect((await call(fixture, "DELETE", `/v1/visitors/${session.visitor.id}`, { token: secret })).status).toBe(200);
    await expectEnded(theirs);
    await expectRefused(session.visitorToken);
    expectAlive(others);
  });

  test("when they reset their session", async () => {
    await connect();
    await call(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: fixture.demo.publishableKey, visitorToken: session.visitorToken, reset: true },
      headers: { origin: ORIGIN },
    });
    await expectEnded(theirs);
    await expectRefused(session.visitorToken);
    expectAlive(others);
  });
});

test("a site's connections end when their origin is removed or the site is deleted; another origin's go on", async () => {
  const origins = ["https://one.example", "https://two.example"];
  const { body: site } = await call<Site>(fixture, "POST", "/v1/sites", {
    token: secret,
    body: { name: "Two doors", agentId: fixture.demo.agentId, allowedOrigins: origins },
  });
  const enter = async (origin = "") => {
    const { body } = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: site.publishableKey },
      headers: { origin },
    });
    const { id } = await converse(fixture, body.visitorToken);
    return { token: body.visitorToken, connections: await live(body.visitorToken, id) };
  };
  const [one, two] = [await enter(origins[0]), await enter(origins[1])];
  await call(fixture, "PATCH", `/v1/sites/${site.id}`, { token: secret, body: { allowedOrigins: [origins[1]] } });
  await expectEnded(one.connections);
  await expectRefused(one.token);
  expectAlive(two.connections);
  // Allowed again: the tokens that were made for it are good again, too.
  await call(fixture, "PATCH", `/v1/sites/${site.id}`, { token: secret, body: { allowedOrigins: origins } });
  await waitFor(async () => (await call(fixture, "GET", "/v1/conversations", { token: one.token })).status === 200, {
    describe: "the origin to be allowed again",
  });
  expect((await call(fixture, "DELETE", `/v1/sites/${site.id}`, { token: secret })).status).toBe(204);
  await expectEnded(two.connections);
  await expectRefused(two.token);
});

test("a secret key's connections end when it is revoked, or its overlap does", async () => {
  const make = async () =>
    (await call<NewApiKey>(fixture, "POST", "/v1/api-keys", { token: secret, body: { name: "k", scopes: ["*"] } }))
      .body;
  const { id } = await converse(fixture, (await visit(fixture)).visitorToken);
  const [revoked, rotated] = [await make(), await make()];
  const [ofRevoked, ofRotated, ofOther] = [
    await live(revoked.key, id),
    await live(rotated.key, id),
    await live(secret, id),
  ];
  await call(fixture, "DELETE", `/v1/api-keys/${revoked.id}`, { token: secret });
  const path = `/v1/api-keys/${rotated.id}/rotate`;
  const { status } = await call<ApiKey>(fixture, "POST", path, { token: secret, body: { overlapSeconds: 0 } });
  expect(status).toBe(200);
  await expectEnded([...ofRevoked, ...ofRotated]);
  expectAlive(ofOther);
});

test("a member's streams end when they are removed", async () => {
  const somebody = await member(fixture, "operator");
  const { id } = await converse(fixture, (await visit(fixture)).visitorToken);
  const stream = await streamOn(fixture.url, id, { cookie: somebody.cookie, origin: fixture.url });
  const owner = await member(fixture, "owner");
  expect((await callAs(fixture, owner, "DELETE", `/v1/members/${somebody.memberId}`)).status).toBe(204);
  await expectEnded([stream]);
});

test("a revocation that commits late is not passed over by those that were asked for before", async () => {
  const session = await visit(fixture);
  const conversation = await converse(fixture, session.visitorToken);
  const theirs = await live(session.visitorToken, conversation.id);
  const client = await fixture.services.db.pool.connect();
  try {
    await client.query(`begin; set local app.tenant_id = '${fixture.demo.tenantId.slice(7)}'`);
    await client.query(
      "insert into revocations (tenant_id, kind, subject, at, keep_until) values ($1, 'visitor', $2, now(), now() + interval '1 hour')",
      [fixture.demo.tenantId.slice(7), session.visitor.id.slice(8)],
    );
    // Somebody else's is written, committed and heard of meanwhile.
    const other = await visit(fixture);
    const others = await live(other.visitorToken, (await converse(fixture, other.visitorToken)).id);
    await call(fixture, "POST", `/v1/visitors/${other.visitor.id}/revoke-sessions`, { token: secret });
    await expectEnded(others);
    expectAlive(theirs);
    await client.query("commit");
  } finally {
    client.release(true);
  }
  await expectEnded(theirs);
});
