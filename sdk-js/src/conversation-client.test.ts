import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import {
  startFakeEngine,
  type FakeEngine,
  type FakeEngineOptions,
  type FakeRun,
} from "@agent-engine/testing/fake-engine.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { io as officialIo } from "socket.io-client";
import { afterEach, describe, expect, it } from "vitest";
import { createConversationClient, type ConversationClient } from "./conversation-client.ts";
import { queuePlace } from "./queue-place.ts";
import { currentRun } from "./current-run.ts";
import { memoryKeyValue, type KeyValue } from "./key-value.ts";
import { unsettled } from "./outbox.ts";
import type { SocketFactory } from "./socket.ts";
import { createVisitorSession } from "./visitor-session.ts";
import { io } from "./websocket-io.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Answers "Echo: <input>" in two deltas. */
function echo(run: FakeRun): void {
  const messageId = run.newId("msg");
  run.emit(
    { type: "RUN_STARTED", threadId: run.conversationId, runId: run.id },
    { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: "Echo: " },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: run.input },
    { type: "TEXT_MESSAGE_END", messageId },
    { type: "RUN_FINISHED", threadId: run.conversationId, runId: run.id, outcome: { type: "success" } },
  );
}

/** Starts an answer and leaves it open. */
function begin(run: FakeRun): void {
  const messageId = run.newId("msg");
  run.emit(
    { type: "RUN_STARTED", threadId: run.conversationId, runId: run.id },
    { type: "TEXT_MESSAGE_START", messageId, role: "assistant" },
    { type: "TEXT_MESSAGE_CONTENT", messageId, delta: "Well, " },
  );
}

async function engineWith(options: FakeEngineOptions): Promise<FakeEngine> {
  const engine = await startFakeEngine(options);
  cleanups.push(() => engine.stop());
  return engine;
}

function open(
  engine: FakeEngine,
  {
    storage = memoryKeyValue(),
    socket = io,
    random = () => 0.1,
    onEvents,
  }: {
    storage?: KeyValue;
    socket?: SocketFactory;
    random?: () => number;
    onEvents?: (envelopes: readonly Envelope[]) => void;
  } = {},
) {
  const http = { baseUrl: engine.url };
  const credentials = createVisitorSession({ ...http, publishableKey: engine.publishableKey, storage });
  const client = createConversationClient({
    ...http,
    credentials,
    storage,
    loadSocket: async () => socket,
    ...(onEvents && { onEvents }),
    random,
  });
  cleanups.push(() => client.close());
  void client.start();
  return client;
}

const texts = (client: ConversationClient) => client.getState().conversation.messages.map(({ text }) => text);
const statusOf = (client: ConversationClient) => client.getState().connection.status;
const until = (condition: () => unknown, describe: string) => waitFor(condition, { describe });
const isLive = (client: ConversationClient) => until(() => statusOf(client) === "live", "a live connection");
const shows = (client: ConversationClient, ...expected: string[]) =>
  waitFor(() => JSON.stringify(texts(client)) === JSON.stringify(expected), {
    describe: () => `${JSON.stringify(expected)}, not ${JSON.stringify(texts(client))}`,
  });

it.each(["as it happens", "as history"])("hands on all of the log %s, before the state shows it", async (how) => {
  const engine = await engineWith({ play: echo });
  const storage = memoryKeyValue();
  if (how === "as history") {
    const before = open(engine, { storage });
    before.send("Hi");
    await shows(before, "Hi", "Echo: Hi");
    before.close();
  }
  const seen = new Set<number>();
  const client = open(engine, {
    storage,
    onEvents(envelopes) {
      const { lastSeq } = client.getState().conversation;
      for (const { from, seq } of envelopes) {
        for (let each = Math.max(from ?? seq, lastSeq + 1); each <= seq; each++) seen.add(each);
      }
    },
  });
  if (how === "as it happens") client.send("Hi");
  await shows(client, "Hi", "Echo: Hi");
  const [log = []] = [...engine.conversations.values()].map((conversation) => conversation.log);
  await until(() => client.getState().conversation.lastSeq === log.length, "all of the log");
  expect([...seen].toSorted((a, b) => a - b)).toEqual(log.map(({ seq }) => seq));
});

describe.each([
  ["our own", io],
  ["the official", officialIo as unknown as SocketFactory],
])("over %s socket client", (_name, socket) => {
  it("shows a message at once, then the streamed answer", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine, { socket });
    await isLive(client);
    client.send("hello");
    expect(client.getState().outbox).toMatchObject([{ text: "hello" }]);
    await shows(client, "hello", "Echo: hello");
    await until(() => client.getState().outbox.length === 0, "an empty outbox");
    expect(engine.requests.get("POST /v1/conversations")).toBe(1);
  });

  it("goes on after its socket was cut", async () => {
    const engine = await engineWith({ play: begin });
    const client = open(engine, { socket });
    client.send("hello");
    await shows(client, "hello", "Well, ");
    await isLive(client);
    const { conversationId, conversation } = client.getState();
    engine.cutSockets();
    await until(() => statusOf(client) !== "live", "the cut to be noticed");
    const messageId = conversation.messages[1]?.id ?? "";
    engine.append(conversationId!, null, { type: "TEXT_MESSAGE_CONTENT", messageId, delta: "here it is." });
    await shows(client, "hello", "Well, here it is.");
    await isLive(client);
  });

  it("renews a token that the socket refuses", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine, { socket });
    await isLive(client);
    engine.revokeTokens();
    engine.cutSockets();
    await until(() => engine.requests.get("POST /v1/visitor-sessions") === 2, "a second session");
    await isLive(client);
  });
});

describe("sending", () => {
  it("stores a message once though the answer to it was lost", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine);
    engine.faults.push({ path: /messages$/, answer: "lose" }, { path: /conversations$/, answer: "lose" });
    client.send("once");
    await shows(client, "once", "Echo: once");
    await until(() => client.getState().outbox.length === 0, "an empty outbox");
    expect(engine.conversations.size).toBe(1);
    expect(engine.requests.get("POST /v1/conversations/conv_{id}/messages")).toBe(2);
  });

  it("never shows a message twice while its answer is on its way", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine);
    await isLive(client);
    const doubled: string[] = [];
    client.subscribe(() => {
      const { outbox, conversation } = client.getState();
      const shown = [...texts(client), ...unsettled(outbox, conversation).map(({ text }) => text)];
      if (shown.filter((text) => text === "same").length > 1) doubled.push(shown.join("|"));
    });
    client.send("same");
    await shows(client, "same", "Echo: same");
    expect(doubled).toEqual([]);
  });

  it("keeps the order of writing, and retries what is transient", async () => {
    const engine = await engineWith({ play: () => {} });
    const client = open(engine);
    engine.faults.push({ path: /messages$/, answer: "unavailable" }, { path: /messages$/, answer: "refuse" });
    client.send("one");
    client.send("two");
    client.send("three");
    await shows(client, "one", "two", "three");
  });

  it("gives a permanent problem to the message, and sends it again when asked", async () => {
    const engine = await engineWith({ play: () => {} });
    const client = open(engine);
    engine.faults.push({ path: /messages$/, answer: "run_active" });
    const id = client.send("now");
    await until(() => client.getState().outbox[0]?.error, "the refusal");
    expect(client.getState().outbox[0]?.error?.code).toBe("run_active");
    client.retry(id);
    await shows(client, "now");
  });

  it("sends after a reload what was not stored before it", async () => {
    const engine = await engineWith({ play: () => {} });
    const storage = memoryKeyValue();
    storage.set("outbox", JSON.stringify([{ clientMessageId: "kept", text: "from before", after: 0 }]));
    const client = open(engine, { storage });
    await shows(client, "from before");
    expect(storage.get("outbox")).toBe("[]");
  });
});

describe("resuming", () => {
  it("folds the log again after a reload in the middle of an answer, and goes on", async () => {
    const engine = await engineWith({ play: begin });
    const storage = memoryKeyValue();
    const before = open(engine, { storage });
    before.send("hello");
    await shows(before, "hello", "Well, ");
    before.close();
    const after = open(engine, { storage });
    await shows(after, "hello", "Well, ");
    const run = currentRun(after.getState().conversation);
    expect(run?.status).toBe("running");
    const { conversationId, conversation } = after.getState();
    await isLive(after);
    const messageId = conversation.messages[1]?.id ?? "";
    engine.append(conversationId!, run!.id, { type: "TEXT_MESSAGE_CONTENT", messageId, delta: "done." });
    await shows(after, "hello", "Well, done.");
  });

  it("begins anew when the conversation is gone", async () => {
    const engine = await engineWith({ play: echo });
    const storage = memoryKeyValue();
    storage.set("conversation", "conv_00000000000000000000000000000000");
    const client = open(engine, { storage });
    await until(() => client.getState().conversationId === null, "the conversation to be forgotten");
    client.send("again");
    await shows(client, "again", "Echo: again");
  });

  it("repairs what a wire loses, doubles and reorders", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine);
    await isLive(client);
    let pushes = 0;
    engine.mangle = (envelopes) =>
      pushes++ % 2 ? [envelopes.toReversed(), envelopes.slice(1)] : [envelopes.slice(-1)];
    client.send("a");
    await shows(client, "a", "Echo: a");
    client.send("b");
    await shows(client, "a", "Echo: a", "b", "Echo: b");
  });

  it("wakes up over a socket that died without a word", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine);
    await isLive(client);
    engine.mangle = () => [];
    client.send("unheard");
    await until(() => client.getState().outbox[0]?.messageId, "the message to be stored");
    engine.mangle = (envelopes) => [envelopes];
    client.wake();
    await shows(client, "unheard", "Echo: unheard");
  });

  it("does not wait out its backoff when it is woken", async () => {
    const engine = await engineWith({ play: echo });
    const path = /conversations$/;
    for (let i = 0; i < 4; i++) engine.faults.push({ path, answer: "unavailable" });
    const client = open(engine, { random: () => 1 });
    client.send("written offline");
    // The waits would be 1, 2, 4 and 8 s.
    for (let i = 1; i <= 4; i++) {
      await until(() => engine.requests.get("POST /v1/conversations") === i, `attempt ${i}`);
      await until(() => (client.wake(), engine.requests.get("POST /v1/conversations") === i + 1), "the next attempt");
    }
    await shows(client, "written offline", "Echo: written offline");
  });

  it("goes where another tab of the visitor goes", async () => {
    const engine = await engineWith({ play: echo });
    const storage = memoryKeyValue();
    const here = open(engine, { storage });
    await isLive(here);
    const there = open(engine, { storage });
    await isLive(there);
    there.send("hello");
    await shows(there, "hello", "Echo: hello");
    here.rejoin();
    await shows(here, "hello", "Echo: hello");
    here.send("from here");
    await shows(there, "hello", "Echo: hello", "from here", "Echo: from here");
    expect(engine.conversations.size).toBe(1);
    there.reset();
    here.rejoin();
    expect(here.getState()).toMatchObject({ conversationId: null, conversation: { messages: [] } });
  });
});

describe("without a socket", () => {
  it("reads the stream when realtime refuses sockets", async () => {
    const engine = await engineWith({ play: echo });
    engine.realtime = "blocked";
    const client = open(engine);
    client.send("hello");
    await shows(client, "hello", "Echo: hello");
    await until(() => statusOf(client) === "degraded", "degraded");
    await until(() => (client.getState().connection as { via?: string }).via === "stream", "the stream");
    client.send("more");
    await shows(client, "hello", "Echo: hello", "more", "Echo: more");
  });

  it("goes on over the stream when the server takes its sockets away, raises no alarm, and comes back by itself", async () => {
    const engine = await engineWith({ play: echo });
    const client = open(engine, { random: () => 0 });
    await isLive(client);
    client.send("hello");
    await shows(client, "hello", "Echo: hello");
    const seen = new Set<string>();
    client.subscribe(() => {
      const { connection } = client.getState();
      seen.add(connection.status === "degraded" ? `by ${connection.via}` : connection.status);
    });
    engine.realtime = "away";
    engine.closeSockets();
    client.send("more");
    await shows(client, "hello", "Echo: hello", "more", "Echo: more");
    await until(() => seen.has("by stream"), "the stream");
    engine.append(client.getState().conversationId!, null, {
      type: "TEXT_MESSAGE_START",
      messageId: "m",
      role: "assistant",
    });
    await until(() => texts(client).length === 5, "what comes over the stream");
    engine.realtime = "live";
    await isLive(client);
    expect([...seen].toSorted()).toEqual(["by poll", "by stream", "live"]);
  });

  it("asks when there is no stream either, and goes live when the socket is back", async () => {
    const engine = await engineWith({ play: begin });
    engine.realtime = "unavailable";
    const client = open(engine);
    client.send("hello");
    await shows(client, "hello", "Well, ");
    expect(client.getState().connection).toMatchObject({ status: "degraded", via: "poll" });
    engine.realtime = "live";
    client.wake();
    await isLive(client);
  });
});

it("stops the current run", async () => {
  const engine = await engineWith({ play: begin });
  const client = open(engine);
  client.send("hello");
  await shows(client, "hello", "Well, ");
  await client.cancel();
  await until(() => currentRun(client.getState().conversation) === null, "the run to end");
  expect(client.getState().conversation.messages[1]?.status).toBe("incomplete");
});

it("renews a visitor token before it expires, as the same visitor", async () => {
  const engine = await engineWith({ play: echo, tokenTtlMs: 59_000 });
  const client = open(engine);
  client.send("hello");
  await shows(client, "hello", "Echo: hello");
  expect(engine.requests.get("POST /v1/visitor-sessions")).toBeGreaterThan(1);
  expect(engine.conversations.size).toBe(1);
});

it("passes a queue's hints on, for its own conversation only", async () => {
  const engine = await engineWith({
    play: (run) => run.emit(custom("run.queued", { position: 3, expectedDelayMs: 9_000 })),
  });
  const client = open(engine);
  client.send("hello");
  await until(() => currentRun(client.getState().conversation)?.status === "queued", "a queued run");
  await isLive(client);
  const run = currentRun(client.getState().conversation);
  expect(run).toMatchObject({ queue: { position: 3 } });
  await waitFor(
    () => {
      engine.hint(client.getState().conversationId!, run!.id, 1, 3_000);
      return client.getState().hint;
    },
    { describe: "the hint" },
  );
  expect(client.getState().hint?.value).toEqual({ position: 1, expectedDelayMs: 3_000 });
  expect(queuePlace(client.getState())).toEqual({ position: 1, expectedDelayMs: 3_000 });
  expect(queuePlace({ ...client.getState(), hint: null })).toEqual({ position: 3, expectedDelayMs: 9_000 });
});

it("forgets the conversation on reset", async () => {
  const engine = await engineWith({ play: echo });
  const client = open(engine);
  client.send("first");
  await shows(client, "first", "Echo: first");
  client.reset();
  expect(texts(client)).toEqual([]);
  client.send("second");
  await shows(client, "second", "Echo: second");
  expect(engine.conversations.size).toBe(2);
});
