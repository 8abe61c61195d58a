import { connect } from "node:net";
import { io } from "socket.io-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { REALTIME_PATH, type EventsPush, type Hint, type RealtimeRefusal } from "@agent-engine/protocol/realtime.ts";
import { firstSeq, type Envelope } from "@agent-engine/protocol/envelope.ts";
import { startRedis, type TestRedis } from "@agent-engine/testing/redis.ts";
import { readSse } from "@agent-engine/testing/sse-client.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startServer, type RunningServer } from "./main.ts";
import { append, call, converse, delta, say, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

const connectTo = (url: string, token: string) =>
  io(url, { path: REALTIME_PATH, auth: { token }, transports: ["websocket"], forceNew: true, reconnection: false });

describe("one server", () => {
  let fixture: ServerFixture;
  let token: string;

  beforeAll(async () => {
    fixture = await startServerFixture();
    token = (await visit(fixture)).visitorToken;
  });
  afterAll(() => fixture.stop());

  const startAnother = (port: number) =>
    startServer({ services: fixture.services, config: { redisUrl: null, publicUrl: null }, port });

  test("names the variable when its port is taken", async () => {
    await expect(startAnother(fixture.server.port)).rejects.toThrow(/Port \d+ is taken.*PORT/);
  });

  test("stops within 5 s with sockets, streams and idle connections open, and tells the sockets why", async () => {
    const server = await startAnother(0);
    const { id } = await converse(fixture, token);
    const socket = connectTo(server.url, token);
    let closing: RealtimeRefusal | null = null;
    socket.on("closing", (reason: RealtimeRefusal) => {
      closing = reason;
    });
    await new Promise((resolve) => socket.once("connect", resolve as () => void));
    await socket.emitWithAck("subscribe", { conversationId: id });
    const stream = await fetch(`${server.url}/v1/conversations/${id}/stream`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const streamEnd = stream.text();
    const idle = connect(server.port, "127.0.0.1");
    const halfRequest = connect(server.port, "127.0.0.1", () => halfRequest.write("POST /v1/runs HTTP/1.1\r\n"));
    halfRequest.on("error", () => {});
    await waitFor(() => halfRequest.readyState === "open" && idle.readyState === "open", { describe: "connections" });
    const startedAt = performance.now();
    await server.stop();
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    await streamEnd;
    await waitFor(() => !socket.connected, { describe: "the socket to be closed" });
    expect(closing).toMatchObject({ code: "realtime_unavailable", retryable: true });
    for (const each of [idle, halfRequest]) each.destroy();
    socket.disconnect();
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
  });

  test("bounds a reader whose network is slow, and catches it up from the log", async () => {
    const { id } = await converse(fixture, token);
    const socket = connectTo(fixture.url, token);
    const received: Envelope[] = [];
    socket.on("events", (push: EventsPush) => void received.push(...push.events));
    await new Promise((resolve) => socket.once("connect", resolve as () => void));
    await socket.emitWithAck("subscribe", { conversationId: id });
    const network = rawSocketOf(socket);
    network.pause();
    const text = "x".repeat(20_000);
    const total = 1_000;
    for (let i = 0; i < total; i += 10) {
      await append(
        fixture,
        id,
        Array.from({ length: 10 }, (_, index) => delta(text, `msg_${i + index}`)),
      );
    }
    await waitFor(() => fixture.server.readers().heldBack === 1, { describe: "the reader to be held back" });
    network.resume();
    await waitFor(() => received.at(-1)?.seq === total, {
      timeoutMs: 20_000,
      describe: () => `all, at ${received.length}`,
    });
    expect(received.map((each) => firstSeq(each))).toEqual(Array.from({ length: total }, (_, index) => index + 1));
    socket.disconnect();
  });

  test("answers 503 while Postgres is away, keeps its sockets, and recovers by itself", async () => {
    const { id } = await converse(fixture, token);
    const socket = connectTo(fixture.url, token);
    const received: Envelope[] = [];
    socket.on("events", (push: EventsPush) => void received.push(...push.events));
    await new Promise((resolve) => socket.once("connect", resolve as () => void));
    await socket.emitWithAck("subscribe", { conversationId: id });
    await fixture.proxy.setMode({ kind: "refuse" });
    fixture.proxy.cut();
    try {
      const body = { clientMessageId: "away", text: "hello" };
      const answer = await call(fixture, "POST", `/v1/conversations/${id}/messages`, { token, body });
      expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
      expect(answer.headers.get("retry-after")).toBe("2");
      expect(answer.headers.get("content-type")).toBe("application/problem+json");
      const ready = await call(fixture, "GET", "/readyz");
      expect(ready).toMatchObject({ status: 503, body: { checks: { postgres: "does not answer" } } });
      expect((await call(fixture, "GET", "/healthz")).status).toBe(200);
    } finally {
      await fixture.proxy.setMode({ kind: "pass" });
    }
    await waitFor(async () => (await call(fixture, "GET", "/readyz")).status === 200, { describe: "readiness" });
    await say(fixture, token, id, "hello again");
    await waitFor(() => received.at(-1)?.seq === 3, { describe: "the events" });
    expect(socket.connected).toBe(true);
    socket.disconnect();
  });
});

describe("two servers on Redis", () => {
  let redis: TestRedis;
  let fixture: ServerFixture;
  let second: RunningServer;
  let token: string;
  const sockets: ReturnType<typeof connectTo>[] = [];

  beforeAll(async () => {
    redis = await startRedis();
    fixture = await startServerFixture({ redisUrl: redis.url });
    second = await startServer({
      services: fixture.services,
      config: { redisUrl: redis.url, publicUrl: null },
      port: 0,
    });
    token = (await visit(fixture)).visitorToken;
  });
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.disconnect();
  });
  afterAll(async () => {
    await second.stop();
    await fixture.stop();
    await redis.stop();
  });

  async function join(url: string, conversationId: string, bearer = token) {
    const socket = connectTo(url, bearer);
    sockets.push(socket);
    const received: Envelope[] = [];
    const hints: Hint[] = [];
    socket.on("events", (push: EventsPush) => void received.push(...push.events));
    socket.on("hint", (hint: Hint) => void hints.push(hint));
    await new Promise((resolve, reject) => {
      socket.once("connect", resolve as () => void);
      socket.once("connect_error", reject);
    });
    expect(await socket.emitWithAck("subscribe", { conversationId })).toMatchObject({ ok: true });
    return { socket, received, hints };
  }

  test("show one conversation's events on each, and carry typing from one to the other", async () => {
    const { id } = await converse(fixture, token);
    const visitor = await join(fixture.url, id);
    const staff = await join(second.url, id, fixture.demo.secretKey);
    await say(fixture, token, id, "hello");
    for (const { received } of [visitor, staff])
      await waitFor(() => received.at(-1)?.seq === 3, { describe: "events" });
    await waitFor(
      () => {
        visitor.socket.emit("typing", { conversationId: id, isTyping: false });
        return staff.hints.length > 0;
      },
      { describe: "typing to cross", intervalMs: 50 },
    );
    expect(staff.hints[0]).toMatchObject({ name: "typing", value: { by: "visitor" } });
    expect(visitor.hints).toEqual([]);
  });

  test("say goodbye to their sockets when Redis is away and refuse new ones; streams go on, and sockets come back", async () => {
    const { id } = await converse(fixture, token);
    const readers = [await join(fixture.url, id), await join(second.url, id)];
    const goodbyes: RealtimeRefusal[] = [];
    for (const { socket } of readers) socket.on("closing", (reason: RealtimeRefusal) => void goodbyes.push(reason));
    const streams = new AbortController();
    const before = streamed(fixture.url, id, streams.signal);
    redis.freeze();
    try {
      await waitFor(() => readers.every(({ socket }) => socket.disconnected), {
        describe: "the sockets to be closed",
        timeoutMs: 5_000,
      });
      const reason = { code: "realtime_unavailable", retryable: true, detail: expect.any(String) };
      expect(goodbyes).toEqual([reason, reason]);
      const refused = connectTo(fixture.url, token);
      sockets.push(refused);
      const error = await new Promise<Error & { data?: RealtimeRefusal }>((resolve) =>
        refused.once("connect_error", resolve),
      );
      expect(error.data).toEqual(reason);

      await append(fixture, id, [delta("while it is away")]);
      const during = streamed(second.url, id, streams.signal);
      for (const seqs of [before, during]) await waitFor(() => seqs.at(-1) === 1, { describe: "the event, over SSE" });
      await append(fixture, id, [delta("and more", "msg_2")]);
      for (const seqs of [before, during]) await waitFor(() => seqs.at(-1) === 2, { describe: "the next" });
      expect(await call(fixture, "GET", "/readyz")).toMatchObject({
        status: 200,
        body: { status: "degraded", checks: { postgres: "ok", redis: "does not answer" } },
      });
    } finally {
      redis.thaw();
    }
    await waitFor(() => fixture.services.bus.isHealthy(), { describe: "the bus to come back" });
    const back = [await join(fixture.url, id), await join(second.url, id)];
    await append(fixture, id, [delta("live again", "msg_3")]);
    for (const { received } of back) await waitFor(() => received.at(-1)?.seq === 3, { describe: "live events" });
    await waitFor(async () => (await call<{ status: string }>(fixture, "GET", "/readyz")).body.status === "ok", {
      describe: "readiness",
    });
    streams.abort();
  });

  test("keep their sockets through a restart of Redis, and repair what it swallowed", async () => {
    const { id } = await converse(fixture, token);
    const readers = [await join(fixture.url, id), await join(second.url, id)];
    await redis.kill();
    await append(fixture, id, [delta("lost on the bus")]);
    await redis.restart();
    for (const { received } of readers) await waitFor(() => received.at(-1)?.seq === 1, { describe: "the repair" });
    await append(fixture, id, [delta("live again", "msg_2")]);
    for (const { received } of readers) await waitFor(() => received.at(-1)?.seq === 2, { describe: "live events" });
    expect(readers.map(({ socket }) => socket.connected)).toEqual([true, true]);
  });

  /** The seqs that an event stream delivers, growing as they come. */
  function streamed(url: string, conversationId: string, signal: AbortSignal): number[] {
    const seqs: number[] = [];
    const read = async () => {
      const headers = { authorization: `Bearer ${token}` };
      const response = await fetch(`${url}/v1/conversations/${conversationId}/stream`, { headers, signal });
      for await (const { id } of readSse(response)) seqs.push(Number(id));
    };
    read().catch(() => undefined);
    return seqs;
  }
});

/** The TCP socket under a client's WebSocket, to stop reading from it. */
function rawSocketOf(socket: ReturnType<typeof connectTo>): { pause(): void; resume(): void } {
  const transport = socket.io.engine.transport as unknown as { ws: { _socket: { pause(): void; resume(): void } } };
  return transport.ws._socket;
}
