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

  describe("while Postgres is away", () => {
    const POSTGRES = /^Postgres (does not answer|answers again)/;
    const said = () => fixture.logged.map(({ msg }) => String(msg)).filter((msg) => POSTGRES.test(msg));

    async function followed(conversationId: string) {
      const socket = connectTo(fixture.url, token);
      const received: Envelope[] = [];
      socket.on("events", (push: EventsPush) => void received.push(...push.events));
      await new Promise((resolve) => socket.once("connect", resolve as () => void));
      await socket.emitWithAck("subscribe", { conversationId });
      const abort = new AbortController();
      const headers = { authorization: `Bearer ${token}` };
      const stream = await fetch(`${fixture.url}/v1/conversations/${conversationId}/stream`, {
        headers,
        signal: abort.signal,
      });
      const streamed: number[] = [];
      const read = async () => {
        for await (const { id } of readSse(stream)) streamed.push(Number(id));
      };
      read().catch(() => undefined);
      return { socket, received, streamed, abort };
    }

    test.each(["refuse", "blackhole", "half-open"] as const)(
      "(%s) requests get 503 soon, sockets and streams stay, and all goes on by itself; the log says so once",
      async (kind) => {
        const { id } = await converse(fixture, token);
        const { socket, received, streamed, abort } = await followed(id);
        const saidBefore = said().length;
        const secret = fixture.demo.secretKey;
        const message = { token, body: { clientMessageId: `away-${kind}`, text: "hello" } };
        const ada = { token: secret, body: { name: "Ada" }, headers: { "idempotency-key": kind } };
        const submit = () => call(fixture, "POST", `/v1/conversations/${id}/messages`, message);
        const calls = () => [
          submit(),
          call(fixture, "GET", `/v1/conversations/${id}/events`, { token }),
          call(fixture, "GET", "/v1/agents", { token: secret }),
          call(fixture, "POST", "/v1/agents", ada),
        ];
        // So that the connections of both pools are there to break.
        await call(fixture, "GET", "/v1/agents", { token: secret });
        await fixture.proxy.setMode({ kind });
        if (kind === "refuse") fixture.proxy.cut();
        try {
          // The first hang until the silence is noticed; of those that follow nobody waits.
          const late = new Promise((_, reject) => setTimeout(reject, 12_000, new Error("no answer in time")).unref());
          for (const round of [calls(), calls()]) {
            for (const answer of (await Promise.race([Promise.all(round), late])) as Awaited<
              (typeof round)[number]
            >[]) {
              expect(answer).toMatchObject({ status: 503, body: { code: "unavailable" } });
              expect(answer.headers.get("retry-after")).toBe("2");
              expect(answer.headers.get("content-type")).toBe("application/problem+json");
            }
          }
          const ready = await call(fixture, "GET", "/readyz");
          expect(ready).toMatchObject({
            status: 503,
            body: {
              status: "unavailable",
              checks: { postgres: "does not answer" },
              detail: expect.stringContaining("DATABASE_URL"),
            },
          });
          expect((await call(fixture, "GET", "/healthz")).status).toBe(200);
        } finally {
          await fixture.proxy.setMode({ kind: "pass" });
        }
        await waitFor(async () => (await call(fixture, "GET", "/readyz")).status === 200, { describe: "readiness" });
        // Sent again it is done once, whether or not the first one was stored.
        expect(await submit()).toMatchObject({ status: 202 });
        await waitFor(() => received.at(-1)?.seq === 3 && streamed.at(-1) === 3, {
          describe: () => `the message on both, at ${received.at(-1)?.seq} and ${streamed.at(-1)}`,
        });
        expect(socket.connected).toBe(true);
        expect((await call(fixture, "GET", "/v1/agents", { token: secret })).status).toBe(200);
        await waitFor(() => said().length === saidBefore + 2, { describe: () => said().join("\n") });
        socket.disconnect();
        abort.abort();
      },
    );
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
