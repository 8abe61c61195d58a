import { io, type Socket } from "socket.io-client";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { firstSeq, type Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Conversation } from "@agent-engine/protocol/resources.ts";
import {
  REALTIME_PATH,
  type ClientToServer,
  type EventsPush,
  type Hint,
  type RealtimeRefusal,
  type ServerToClient,
  type SubscribeAck,
} from "@agent-engine/protocol/realtime.ts";
import { readSse } from "@agent-engine/testing/sse-client.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import {
  append,
  call,
  converse,
  delta,
  ORIGIN,
  say,
  scopedKey,
  startServerFixture,
  visit,
  type ServerFixture,
} from "./server-fixture.ts";

type Client = Socket<ServerToClient, ClientToServer>;

let fixture: ServerFixture;
let token: string;
let conversation: Conversation;
const clients: Client[] = [];

beforeAll(async () => {
  fixture = await startServerFixture();
  token = (await visit(fixture)).visitorToken;
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect();
  conversation = await converse(fixture, token);
});
afterAll(() => fixture.stop());

interface ConnectOptions {
  auth?: Record<string, unknown>;
  origin?: string;
  transports?: ("websocket" | "polling")[];
}

function open({ auth = { token }, origin, transports = ["websocket"] }: ConnectOptions = {}): Client {
  const client: Client = io(fixture.url, {
    path: REALTIME_PATH,
    auth,
    transports,
    forceNew: true,
    reconnection: false,
    ...(origin === undefined ? {} : { extraHeaders: { origin } }),
  });
  clients.push(client);
  return client;
}

async function connected(options?: ConnectOptions): Promise<Client> {
  const client = open(options);
  await new Promise<void>((resolve, reject) => {
    client.once("connect", resolve);
    client.once("connect_error", reject);
  });
  return client;
}

function refusal(options?: ConnectOptions): Promise<RealtimeRefusal> {
  const client = open(options);
  return new Promise((resolve, reject) => {
    client.once("connect", () => reject(new Error("connected")));
    client.once("connect_error", (error: Error & { data?: RealtimeRefusal }) =>
      error.data ? resolve(error.data) : reject(error),
    );
  });
}

const subscribe = (client: Client, request: object): Promise<SubscribeAck> =>
  client.timeout(5_000).emitWithAck("subscribe", request);

function collect(client: Client): Envelope[] {
  const received: Envelope[] = [];
  client.on("events", (push: EventsPush) => void received.push(...push.events));
  return received;
}

const seqs = (envelopes: readonly Envelope[]) =>
  envelopes.flatMap((each) =>
    Array.from({ length: each.seq - firstSeq(each) + 1 }, (_, index) => firstSeq(each) + index),
  );

const upTo = (received: Envelope[], seq: number) =>
  waitFor(() => received.at(-1)?.seq === seq, { describe: () => `seq ${seq}, at ${received.at(-1)?.seq}` });

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe.each([["websocket"], ["polling"]] as const)("a socket over %s", (transport) => {
  test("receives what is stored and what follows, then resumes from its cursor", async () => {
    conversation = await converse(fixture, token);
    await say(fixture, token, conversation.id, "hello");
    const client = await connected({ transports: [transport] });
    const received = collect(client);
    expect(await subscribe(client, { conversationId: conversation.id, after: 0 })).toEqual({ ok: true, lastSeq: 3 });
    await upTo(received, 3);
    await append(fixture, conversation.id, [delta("a"), delta("b", "msg_y")]);
    await upTo(received, 5);
    client.disconnect();
    await append(fixture, conversation.id, [delta("missed"), delta("too", "msg_z")]);

    const again = await connected({ transports: [transport] });
    const rest = collect(again);
    expect(await subscribe(again, { conversationId: conversation.id, after: 5 })).toEqual({ ok: true, lastSeq: 7 });
    await append(fixture, conversation.id, [delta("live", "msg_w")]);
    await upTo(rest, 8);
    expect([...seqs(received), ...seqs(rest)]).toEqual(range(1, 8));
  });
});

describe("a socket", () => {
  test("follows what is appended during its backfill without a gap", async () => {
    conversation = await converse(fixture, token);
    await append(
      fixture,
      conversation.id,
      range(1, 50).map((each) => delta(`${each}`, `msg_${each}`)),
    );
    const client = await connected();
    const received = collect(client);
    const writing = (async () => {
      for (const each of range(51, 120)) await append(fixture, conversation.id, [delta(`${each}`, `msg_${each}`)]);
    })();
    await subscribe(client, { conversationId: conversation.id, after: 10 });
    await writing;
    await upTo(received, 120);
    expect(seqs(received)).toEqual(range(11, 120));
  });

  test("is told of a batch that was never published within a repair", async () => {
    conversation = await converse(fixture, token);
    const client = await connected();
    const received = collect(client);
    await subscribe(client, { conversationId: conversation.id });
    const { bus } = fixture.services;
    const publish = bus.publish;
    bus.publish = () => {};
    await append(fixture, conversation.id, [delta("lost")]);
    bus.publish = publish;
    await upTo(received, 1);
  });

  test("of a run receives only its events; staff see what a visitor does not", async () => {
    conversation = await converse(fixture, token);
    const { run } = await say(fixture, token, conversation.id, "hello");
    const visitor = await connected();
    const staff = await connected({ auth: { token: fixture.demo.secretKey } });
    const [seen, seenByStaff] = [collect(visitor), collect(staff)];
    await subscribe(visitor, { runId: run.id });
    await subscribe(staff, { conversationId: conversation.id });
    await append(fixture, conversation.id, [
      delta("not of the run"),
      {
        event: { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_r", delta: "secret" },
        audience: "staff",
        runId: run.id,
      },
    ]);
    await call(fixture, "POST", `/v1/runs/${run.id}/cancel`, { token });
    await waitFor(() => seen.some(({ event }) => event.type === "RUN_FINISHED"), { describe: "the run's end" });
    await waitFor(() => seenByStaff.some(({ event }) => event.type === "RUN_FINISHED"), { describe: "the run's end" });
    expect(seqs(seen)).toEqual([1, 2, 3, 5, 6, 7]);
    expect(JSON.stringify(seen)).not.toContain("secret");
    expect(JSON.stringify(seenByStaff)).toContain("secret");
  });

  test("may follow only what is the reader's own", async () => {
    const neighbour = await connected({ auth: { token: (await visit(fixture)).visitorToken } });
    const stranger = await connected({ auth: { token: fixture.other.secretKey } });
    for (const client of [neighbour, stranger]) {
      for (const conversationId of [conversation.id, "conv_1", "x"]) {
        expect(await subscribe(client, { conversationId })).toMatchObject({ ok: false, error: { code: "not_found" } });
      }
    }
  });

  test.each([
    [null],
    [{}],
    [{ conversationId: 5 }],
    [{ conversationId: "conv_1", runId: "run_1" }],
    [{ conversationId: "conv_1", after: -1 }],
    [{ conversationId: "conv_1", after: "3" }],
    [{ conversationId: "conv_1", after: 1.5 }],
  ])("that asks for %j is told what is wrong", async (request) => {
    const client = await connected();
    const answer: SubscribeAck = await client.timeout(5_000).emitWithAck("subscribe", request as never);
    expect(answer).toMatchObject({ ok: false, error: { code: "invalid_request", detail: expect.any(String) } });
  });

  test("that subscribes again replaces its cursor; that unsubscribes hears no more", async () => {
    conversation = await converse(fixture, token);
    await append(fixture, conversation.id, [delta("a"), delta("b", "msg_b")]);
    const client = await connected();
    const received = collect(client);
    await subscribe(client, { conversationId: conversation.id, after: 1 });
    await upTo(received, 2);
    await subscribe(client, { conversationId: conversation.id, after: 0 });
    await waitFor(() => received.length === 3, { describe: "the replay" });
    expect(seqs(received)).toEqual([2, 1, 2]);
    client.emit("unsubscribe", { conversationId: conversation.id });
    const probe = await connected();
    const probed = collect(probe);
    await subscribe(probe, { conversationId: conversation.id, after: 2 });
    await append(fixture, conversation.id, [delta("c", "msg_c")]);
    await upTo(probed, 3);
    expect(received).toHaveLength(3);
  });

  test("hears hints and the others' typing, and never its own", async () => {
    conversation = await converse(fixture, token);
    const visitor = await connected();
    const staff = await connected({ auth: { token: fixture.demo.secretKey } });
    const hints: Hint[] = [];
    const own: Hint[] = [];
    staff.on("hint", (hint: Hint) => void hints.push(hint));
    visitor.on("hint", (hint: Hint) => void own.push(hint));
    await subscribe(visitor, { conversationId: conversation.id });
    await subscribe(staff, { conversationId: conversation.id });
    visitor.emit("typing", { conversationId: conversation.id, isTyping: true });
    await waitFor(() => hints.length === 1, { describe: "the typing hint" });
    expect(hints).toEqual([
      { conversationId: conversation.id, runId: null, name: "typing", value: { isTyping: true, by: "visitor" } },
    ]);
    const hint: Hint = { conversationId: conversation.id, runId: null, name: "run.queued", value: { position: 2 } };
    fixture.services.bus.control.publish({ kind: "hint", hint });
    await waitFor(() => own.length === 1 && hints.length === 2, { describe: "the queue hint" });
    expect(own).toEqual([hint]);
  });
});

describe("a handshake", () => {
  test.each([
    ["no token", {}],
    ["an empty token", { token: "" }],
    ["a token of another type", { token: 5 }],
    ["a forged token", { token: "a.b.c" }],
    ["an unknown secret key", { token: "sk_unknown" }],
    ["a publishable key", { token: "pk_any" }],
  ] as [string, Record<string, unknown>][])("with %s", async (_, auth) => {
    expect(await refusal({ auth })).toEqual({ code: "unauthenticated", retryable: false, detail: expect.any(String) });
  });

  test("from another origin than the token's", async () => {
    expect(await refusal({ origin: "https://evil.example" })).toMatchObject({
      code: "origin_not_allowed",
      retryable: false,
    });
    expect(await refusal({ origin: "null" })).toMatchObject({ code: "origin_not_allowed" });
    await connected({ origin: ORIGIN });
  });

  test("with a key that may not read conversations", async () => {
    const key = await scopedKey(fixture, "agents:read");
    expect(await refusal({ auth: { token: key } })).toMatchObject({ code: "unauthenticated" });
  });

  test("while the bus is away is refused for now", async () => {
    const { bus } = fixture.services;
    const isHealthy = bus.isHealthy;
    bus.isHealthy = () => false;
    try {
      expect(await refusal()).toMatchObject({ code: "realtime_unavailable", retryable: true });
    } finally {
      bus.isHealthy = isHealthy;
    }
  });

  test("over polling is held to the origins that some site knows", async () => {
    const url = `${fixture.url}${REALTIME_PATH}/?EIO=4&transport=polling`;
    const allowed = await fetch(url, { headers: { origin: ORIGIN } });
    expect(allowed.headers.get("access-control-allow-origin")).toBe(ORIGIN);
    const refused = await fetch(url, { headers: { origin: "https://evil.example" } });
    expect(refused.headers.get("access-control-allow-origin")).toBeNull();
  });
});

describe("an event stream", () => {
  const follow = (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) =>
    fetch(`${fixture.url}${path}`, {
      headers: { authorization: `Bearer ${token}`, ...headers },
      ...(signal ? { signal } : {}),
    });

  async function take(response: Response, count: number): Promise<{ ids: (string | null)[]; envelopes: Envelope[] }> {
    const ids: (string | null)[] = [];
    const envelopes: Envelope[] = [];
    for await (const message of readSse(response)) {
      ids.push(message.id);
      envelopes.push(JSON.parse(message.data));
      if (envelopes.length === count) break;
    }
    return { ids, envelopes };
  }

  test("sends what is stored and what follows, and resumes by Last-Event-ID", async () => {
    conversation = await converse(fixture, token);
    await say(fixture, token, conversation.id, "hello");
    const path = `/v1/conversations/${conversation.id}/stream`;
    const abort = new AbortController();
    const response = await follow(path, {}, abort.signal);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store, no-transform");
    expect(response.headers.get("x-accel-buffering")).toBe("no");
    const reading = take(response, 4);
    await waitFor(() => fixture.logged.some(({ route }) => String(route).endsWith("/stream")), {
      describe: "the stream",
    });
    await append(fixture, conversation.id, [delta("live")]);
    const { ids, envelopes } = await reading;
    expect(ids).toEqual(["1", "2", "3", "4"]);
    expect(envelopes[3]).toMatchObject({ seq: 4, conversationId: conversation.id, event: { delta: "live" } });
    abort.abort();

    await append(fixture, conversation.id, [delta("missed", "msg_m")]);
    const resumed = await take(await follow(`${path}?after=0`, { "last-event-id": "4" }), 1);
    expect(resumed.ids).toEqual(["5"]);
    const fromQuery = await take(await follow(`${path}?after=3`), 2);
    expect(fromQuery.ids).toEqual(["4", "5"]);
  });

  test("of a run closes after its terminal event, also when it had ended", async () => {
    conversation = await converse(fixture, token);
    const { run } = await say(fixture, token, conversation.id, "hello");
    const path = `/v1/runs/${run.id}/stream`;
    const reading = take(await follow(path), Infinity);
    await call(fixture, "POST", `/v1/runs/${run.id}/cancel`, { token });
    const { envelopes } = await reading;
    expect(envelopes.at(-1)?.event).toMatchObject({ type: "RUN_FINISHED" });
    const again = await take(await follow(path), Infinity);
    expect(again.envelopes).toEqual(envelopes);
    const nothing = await take(await follow(path, { "last-event-id": String(envelopes.at(-1)?.seq) }), Infinity);
    expect(nothing.envelopes).toEqual([]);
  });

  test("leaves no reader behind when its client goes", async () => {
    conversation = await converse(fixture, token);
    const abort = new AbortController();
    await follow(`/v1/conversations/${conversation.id}/stream`, {}, abort.signal);
    const head = await fetch(`${fixture.url}/v1/conversations/${conversation.id}/stream`, {
      method: "HEAD",
      headers: { authorization: `Bearer ${token}` },
    });
    expect(head.status).toBe(200);
    abort.abort();
    const { bus } = fixture.services;
    let isReleased = false;
    const subscribeBus = bus.subscribe;
    bus.subscribe = (...args) => {
      const { inForce, leave } = subscribeBus.apply(bus, args);
      return {
        inForce,
        leave() {
          isReleased = true;
          leave();
        },
      };
    };
    const other = await converse(fixture, token);
    const going = new AbortController();
    await follow(`/v1/conversations/${other.id}/stream`, {}, going.signal);
    going.abort();
    await waitFor(() => isReleased, { describe: "the subscription to be released" });
    bus.subscribe = subscribeBus;
  });
});

describe("which conversations change", () => {
  /** What a socket is told, by conversation: the newest. */
  function changesOf(client: Client): Map<string, number> {
    const changes = new Map<string, number>();
    client.on("conversation.changed", ({ id, lastSeq }) => void changes.set(id, lastSeq));
    return changes;
  }
  const isTold = (changes: Map<string, number>, seq: number) =>
    waitFor(() => changes.get(conversation.id) === seq, {
      describe: () => `${conversation.id} at ${seq}: ${JSON.stringify([...changes])}`,
    });

  test("staff are told, of all their tenant's, without following any; nobody else is", async () => {
    const staff = changesOf(await connected({ auth: { token: fixture.demo.secretKey } }));
    const others = [
      changesOf(await connected()),
      changesOf(await connected({ auth: { token: fixture.other.secretKey } })),
    ];
    await say(fixture, token, conversation.id, "hello");
    await isTold(staff, 3);
    await append(fixture, conversation.id, [delta("a")]);
    expect(
      await call(fixture, "POST", `/v1/conversations/${conversation.id}/takeover`, {
        token: fixture.demo.secretKey,
        body: { name: "Ada" },
      }),
    ).toMatchObject({ status: 200 });
    const { body } = await call<Conversation>(fixture, "GET", `/v1/conversations/${conversation.id}`, { token });
    await isTold(staff, body.lastSeq);
    // What was published before has arrived everywhere by then.
    const more = await visit(fixture, fixture.other, "https://other.example");
    const theirs = await converse(fixture, more.visitorToken);
    await say(fixture, more.visitorToken, theirs.id, "hello");
    await waitFor(() => others[1]?.has(theirs.id), { describe: "the other tenant's staff to be told of their own" });
    expect(staff.has(theirs.id)).toBe(false);
    expect([...(others[1]?.keys() ?? [])]).toEqual([theirs.id]);
    expect(others[0]?.size).toBe(0);
  });
});
