import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Conversation, Page, Run, Submission } from "@agent-engine/protocol/resources.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import {
  append,
  call,
  converse,
  delta,
  say,
  scopedKey,
  startServerFixture,
  visit,
  type ServerFixture,
} from "./server-fixture.ts";

let fixture: ServerFixture;
let visitor: string;
let secret: string;
let original: Submission;

beforeAll(async () => {
  fixture = await startServerFixture();
  visitor = (await visit(fixture)).visitorToken;
  secret = fixture.demo.secretKey;
  const { id } = await converse(fixture, visitor);
  original = await say(fixture, visitor, id, "hello");
});
afterAll(() => fixture.stop());

const forkPath = () => `/v1/runs/${original.run.id}/fork`;

describe("POST /v1/runs/{id}/fork", () => {
  test("answers the message and the run of a new conversation, which staff alone may see", async () => {
    const body = { changes: { message: "good evening" } };
    const answer = await call<Submission>(fixture, "POST", forkPath(), { token: secret, body });
    expect(answer.status).toBe(202);
    const { message, run } = answer.body;
    const forkedFrom = { runId: original.run.id, conversationId: original.run.conversationId, seq: 3 };
    expect(message).toMatchObject({ role: "user", text: "good evening", clientMessageId: null });
    expect(run).toMatchObject({ status: "queued", agentId: original.run.agentId, attempt: 0, forkedFrom });
    expect(message.conversationId).toBe(run.conversationId);
    expect(run.conversationId).not.toBe(original.run.conversationId);

    const path = `/v1/conversations/${run.conversationId}`;
    const own = await call<Conversation>(fixture, "GET", path, { token: secret });
    expect(own.body).toMatchObject({ visitorId: null, lastSeq: 4, forkedFrom });
    expect((await call(fixture, "GET", path, { token: visitor })).status).toBe(404);
    const events = await call<Page<Envelope>>(fixture, "GET", `${path}/events`, { token: secret });
    expect(events.body.items.map(({ event }) => event)).toMatchObject([
      { type: "TEXT_MESSAGE_START", messageId: message.id, role: "user" },
      { type: "TEXT_MESSAGE_CONTENT", delta: "good evening" },
      { type: "TEXT_MESSAGE_END" },
      { type: "CUSTOM", name: "run.forked", value: forkedFrom },
    ]);
    const mine = await call<Page<Conversation>>(fixture, "GET", "/v1/conversations", { token: visitor });
    expect(mine.body.items.map(({ id }) => id)).toEqual([original.run.conversationId]);
    const first = await call<Run>(fixture, "GET", `/v1/runs/${original.run.id}`, { token: secret });
    expect(first.body).toEqual(original.run);
  });

  test("can be cancelled at once, and forked again", async () => {
    const { body } = await call<Submission>(fixture, "POST", forkPath(), { token: secret, body: {} });
    const again = await call<Submission>(fixture, "POST", `/v1/runs/${body.run.id}/fork`, { token: secret });
    expect(again.body.run.forkedFrom).toMatchObject({ runId: body.run.id, conversationId: body.run.conversationId });
    expect(again.body.message.text).toBe("hello");
    const cancelled = await call<Run>(fixture, "POST", `/v1/runs/${body.run.id}/cancel`, { token: secret });
    expect(cancelled.body).toMatchObject({ status: "cancelled", forkedFrom: { runId: original.run.id } });
    const listed = await call<Page<Run>>(fixture, "GET", "/v1/runs", { token: secret });
    expect(listed.body.items.find(({ id }) => id === body.run.id)?.forkedFrom).toEqual(body.run.forkedFrom);
  });

  test("is made once for an Idempotency-Key", async () => {
    const headers = { "idempotency-key": "fork-once" };
    const body = { atSeq: 2, changes: { instructions: "Be brief." } };
    const first = await call<Submission>(fixture, "POST", forkPath(), { token: secret, body, headers });
    const second = await call<Submission>(fixture, "POST", forkPath(), { token: secret, body, headers });
    expect([second.status, second.headers.get("idempotency-replayed")]).toEqual([202, "true"]);
    expect(second.body).toEqual(first.body);
    const other = await call(fixture, "POST", forkPath(), { token: secret, body: { atSeq: 3 }, headers });
    expect(other.body.code).toBe("idempotency_mismatch");
  });

  test("is not for visitors, nor for keys that may only read", async () => {
    expect((await call(fixture, "POST", forkPath(), { token: visitor, body: {} })).body.code).toBe("forbidden");
    const reader = await scopedKey(fixture, "runs:read");
    expect((await call(fixture, "POST", forkPath(), { token: reader, body: {} })).body.code).toBe("forbidden");
  });

  test("answers for another tenant's run what it answers for none", async () => {
    const [foreign, none] = await Promise.all([
      call(fixture, "POST", forkPath(), { token: fixture.other.secretKey, body: {} }),
      call(fixture, "POST", "/v1/runs/run_0198c0de00007000800000000000cafe/fork", { token: secret, body: {} }),
    ]);
    expect([foreign.status, foreign.body.detail]).toEqual([404, none.body.detail]);
  });

  test.each<[string, unknown, RegExp]>([
    ["a seq before the run", { atSeq: 0 }, /atSeq/],
    ["a seq after the run", { atSeq: 4 }, /from 1, where its message begins, to 3, its last event so far/],
    ["half a seq", { atSeq: 1.5 }, /atSeq/],
    ["a field nobody knows", { at: 1 }, /`at` is not a field/],
    ["a change nobody knows", { changes: { tools: [] } }, /tools/],
    ["an empty message", { changes: { message: " " } }, /message/],
    ["a message too long", { changes: { message: "a".repeat(32_001) } }, /message/],
    ["instructions too long", { changes: { instructions: "a".repeat(64_001) } }, /instructions/],
    ["a model of no provider", { changes: { model: { provider: "acme" } } }, /provider/],
    ["a result of no call", { changes: { toolResults: { first: "x" } } }, /first, which is no tool call/],
    [
      "a result of another's call",
      { changes: { toolResults: { [`call_${"0".repeat(32)}`]: "x" } } },
      /no tool call that/,
    ],
    [
      "a result too long",
      { changes: { toolResults: { [`call_${"0".repeat(32)}`]: "a".repeat(32_001) } } },
      /toolResults/,
    ],
    ["a yes that is none", { changes: { allowSideEffects: "yes" } }, /allowSideEffects/],
  ])("refuses %s and says what to do", async (_, body, detail) => {
    const answer = await call(fixture, "POST", forkPath(), { token: secret, body });
    expect([answer.status, answer.body.code]).toEqual([400, "invalid_request"]);
    expect(answer.body.detail).toMatch(detail);
  });
});

describe("GET /v1/conversations/{id}/state?at=", () => {
  test("is the fold at any event, as its reader may see it", async () => {
    const { id } = await converse(fixture, visitor);
    await append(fixture, id, [
      { event: { type: "TEXT_MESSAGE_START", messageId: "msg_x", role: "assistant" } },
      delta("a"),
      delta("b"),
      delta("c"),
      { event: custom("operator.joined", { name: "Ada" }), audience: "staff" },
      { event: { type: "TEXT_MESSAGE_END", messageId: "msg_x" } },
    ]);
    const at = async (seq: number, token: string) =>
      (await call<ConversationState>(fixture, "GET", `/v1/conversations/${id}/state?at=${seq}`, { token })).body;
    for (const token of [visitor, secret]) {
      expect(await at(0, token)).toMatchObject({ lastSeq: 0, messages: [], toolCalls: [], runs: {} });
      // Readers are given 2..4 as one.
      expect(await at(3, token)).toMatchObject({ lastSeq: 3, messages: [{ text: "ab", status: "streaming" }] });
      expect(await at(5, token)).toMatchObject({ lastSeq: 5, messages: [{ text: "abc", status: "streaming" }] });
      const last = await at(6, token);
      expect(last).toMatchObject({ lastSeq: 6, messages: [{ text: "abc", status: "complete" }] });
      expect((await call(fixture, "GET", `/v1/conversations/${id}/state`, { token })).body).toEqual(last);
      const beyond = await call(fixture, "GET", `/v1/conversations/${id}/state?at=7`, { token });
      expect([beyond.status, beyond.body.detail]).toEqual([400, expect.stringMatching(/last event is 6\. Use 0 to 6/)]);
    }
    const { visitorToken: stranger } = await visit(fixture);
    expect((await call(fixture, "GET", `/v1/conversations/${id}/state?at=3`, { token: stranger })).status).toBe(404);
  });
});
