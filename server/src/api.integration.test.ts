import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type {
  Agent,
  AgentVersion,
  Conversation,
  Document,
  Job,
  Page,
  Run,
  Submission,
  VisitorSession,
} from "@agent-engine/protocol/resources.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import {
  append,
  call,
  converse,
  delta,
  ORIGIN,
  say,
  startServerFixture,
  visit,
  type ServerFixture,
} from "./server-fixture.ts";

const ID = (prefix: string) => expect.stringMatching(new RegExp(`^${prefix}_[0-9a-f]{32}$`));
const TIME = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

let fixture: ServerFixture;
let visitor: VisitorSession;
let token: string;
let secret: string;

beforeAll(async () => {
  fixture = await startServerFixture();
  visitor = await visit(fixture);
  token = visitor.visitorToken;
  secret = fixture.demo.secretKey;
});
afterAll(() => fixture.stop());

describe("a visitor", () => {
  test("opens a session, and stays the same visitor with the last token", async () => {
    expect(visitor).toEqual({
      visitorToken: expect.any(String),
      expiresAt: TIME,
      visitor: { id: ID("visitor"), externalId: null, createdAt: TIME },
      site: {
        id: fixture.demo.siteId,
        name: expect.any(String),
        agent: {
          id: fixture.demo.agentId,
          name: expect.any(String),
          greeting: expect.any(String),
          suggestions: expect.any(Array),
          isLanguageModel: false,
        },
        theme: {},
      },
    });
    const again = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: fixture.demo.publishableKey, visitorToken: token },
      headers: { origin: ORIGIN },
    });
    expect(again.status).toBe(201);
    expect(again.body.visitor.id).toBe(visitor.visitor.id);
  });

  test("becomes a new one when the last token is not to be trusted", async () => {
    const elsewhere = await visit(fixture, fixture.other, "https://other.example");
    for (const visitorToken of ["rubbish", elsewhere.visitorToken]) {
      const { status, body } = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
        body: { publishableKey: fixture.demo.publishableKey, visitorToken },
        headers: { origin: ORIGIN },
      });
      expect(status).toBe(201);
      expect([visitor.visitor.id, elsewhere.visitor.id]).not.toContain(body.visitor.id);
    }
  });

  test("converses: conversation, message and run have their shapes", async () => {
    const created = await call<Conversation>(fixture, "POST", "/v1/conversations", { token, body: {} });
    expect(created.status).toBe(201);
    expect(created.body).toEqual({
      id: ID("conv"),
      agentId: fixture.demo.agentId,
      visitorId: visitor.visitor.id,
      mode: "agent",
      lastSeq: 0,
      createdAt: TIME,
    });
    const { id } = created.body;
    const sent = await call<Submission>(fixture, "POST", `/v1/conversations/${id}/messages`, {
      token,
      body: { clientMessageId: "m1", text: "Where is my order?" },
    });
    expect(sent.status).toBe(202);
    expect(sent.body).toEqual({
      message: {
        id: ID("msg"),
        conversationId: id,
        clientMessageId: "m1",
        role: "user",
        text: "Where is my order?",
        createdAt: TIME,
      },
      run: {
        id: ID("run"),
        conversationId: id,
        agentId: fixture.demo.agentId,
        status: "queued",
        interrupts: [],
        attempt: 0,
        usage: [],
        finishReason: null,
        error: null,
        createdAt: TIME,
        finishedAt: null,
      },
    });
    const read = await call<Conversation>(fixture, "GET", `/v1/conversations/${id}`, { token });
    expect(read).toMatchObject({ status: 200, body: { id, lastSeq: 3 } });
    const run = await call<Run>(fixture, "GET", `/v1/runs/${sent.body.run.id}`, { token });
    expect(run).toMatchObject({ status: 200, body: { id: sent.body.run.id, status: "queued" } });
  });

  test("lists their own conversations, newest first, by page", async () => {
    const mine = await visit(fixture);
    const made: string[] = [];
    for (let i = 0; i < 3; i++) made.unshift((await converse(fixture, mine.visitorToken)).id);
    const first = await call<Page<Conversation>>(fixture, "GET", "/v1/conversations?limit=2", {
      token: mine.visitorToken,
    });
    expect(first.body.items.map(({ id }) => id)).toEqual(made.slice(0, 2));
    const rest = await call<Page<Conversation>>(
      fixture,
      "GET",
      `/v1/conversations?limit=2&cursor=${first.body.nextCursor}`,
      { token: mine.visitorToken },
    );
    expect(rest.body.items.map(({ id }) => id)).toEqual(made.slice(2));
    expect(rest.body.nextCursor).toBeNull();
  });

  test("reads events ascending, by cursor, and the state they fold to", async () => {
    const { id } = await converse(fixture, token);
    const { run } = await say(fixture, token, id, "hello");
    await append(fixture, id, [
      {
        event: { type: "REASONING_MESSAGE_CONTENT", messageId: "msg_r", delta: "secret" },
        audience: "staff",
        runId: run.id,
      },
      delta("a"),
      delta("b"),
    ]);
    const path = `/v1/conversations/${id}/events`;
    const all = await call<Page<Envelope>>(fixture, "GET", path, { token });
    expect(all.status).toBe(200);
    expect(all.body.items.map(({ from, seq }) => from ?? seq)).toEqual([1, 2, 3, 4, 5]);
    expect(all.body.nextCursor).toBeNull();
    expect(all.body.items[0]).toEqual({
      seq: 1,
      conversationId: id,
      runId: run.id,
      at: TIME,
      correlationId: expect.any(String),
      event: { type: "TEXT_MESSAGE_START", messageId: ID("msg"), role: "user" },
    });
    expect(all.body.items[3]?.event).toEqual({ type: "CUSTOM", name: "hidden", value: {} });
    expect(all.body.items[4]).toMatchObject({ from: 5, seq: 6, event: { delta: "ab" } });

    const page = await call<Page<Envelope>>(fixture, "GET", `${path}?after=1&limit=2`, { token });
    expect(page.body.items.map(({ seq }) => seq)).toEqual([2, 3]);
    expect(page.body.nextCursor).toBe("3");

    const staff = await call<Page<Envelope>>(fixture, "GET", path, { token: secret });
    expect(JSON.stringify(staff.body)).toContain("secret");

    const state = await call<ConversationState>(fixture, "GET", `/v1/conversations/${id}/state`, { token });
    expect(state.body).toMatchObject({ lastSeq: 6, messages: [{ role: "user", text: "hello" }] });
    const earlier = await call<ConversationState>(fixture, "GET", `/v1/conversations/${id}/state?at=1`, { token });
    expect(earlier.body).toMatchObject({ lastSeq: 1, messages: [{ text: "", status: "streaming" }] });
  });

  test("cancels a run, also one that has ended", async () => {
    const { id } = await converse(fixture, token);
    const { run } = await say(fixture, token, id, "hello");
    for (let i = 0; i < 2; i++) {
      const { status, body } = await call<Run>(fixture, "POST", `/v1/runs/${run.id}/cancel`, { token });
      expect(status).toBe(200);
      expect(body).toMatchObject({ id: run.id, status: "cancelled", finishedAt: TIME });
    }
    const events = await call<Page<Envelope>>(fixture, "GET", `/v1/runs/${run.id}/events`, { token });
    expect(events.body.items.at(-1)?.event).toMatchObject({ type: "RUN_FINISHED", outcome: { type: "cancelled" } });
  });
});

describe("a partner with a secret key", () => {
  test("starts runs, lists them, and goes on in the same conversation", async () => {
    const first = await call<Submission>(fixture, "POST", "/v1/runs", {
      token: secret,
      body: { agentId: fixture.demo.agentId, input: "hello" },
    });
    expect(first.status).toBe(202);
    const { conversationId } = first.body.run;
    const second = await call<Submission>(fixture, "POST", "/v1/runs", {
      token: secret,
      body: { agentId: fixture.demo.agentId, input: "more", conversationId, queueClass: "standard" },
    });
    expect(second.body.run.conversationId).toBe(conversationId);
    const list = await call<Page<Run>>(fixture, "GET", "/v1/runs?limit=2", { token: secret });
    expect(list.body.items.map(({ id }) => id)).toEqual([second.body.run.id, first.body.run.id]);
    const events = await call<Page<Envelope>>(fixture, "GET", `/v1/runs/${second.body.run.id}/events`, {
      token: secret,
    });
    expect(events.body.items.map(({ seq }) => seq)).toEqual([4, 5, 6]);
  });

  test("sees the backlog and the dead letters", async () => {
    const { body } = await call<Submission>(fixture, "POST", "/v1/runs", {
      token: secret,
      body: { agentId: fixture.demo.agentId, input: "hello", queueClass: "standard" },
    });
    const job = { id: `${body.run.id}-1`, runId: body.run.id, handOver: 1, queueClass: "standard", reason: null };
    const list = await call<Page<Job>>(fixture, "GET", "/v1/jobs?limit=1", { token: secret });
    expect(list.body.items).toEqual([expect.objectContaining(job)]);
    const next = await call<Page<Job>>(fixture, "GET", `/v1/jobs?limit=1&cursor=${list.body.nextCursor}`, {
      token: secret,
    });
    expect(next.body.items[0]?.runId).not.toBe(body.run.id);
    const dead = await call<Page<Job>>(fixture, "GET", "/v1/jobs?state=dead", { token: secret });
    expect(dead.body).toEqual({ items: [], nextCursor: null });
    for (const query of ["state=late", "cursor=nonsense", "limit=0"]) {
      expect(await call(fixture, "GET", `/v1/jobs?${query}`, { token: secret })).toMatchObject({
        status: 400,
        body: { code: "invalid_request" },
      });
    }
    const theirs = await call<Page<Job>>(fixture, "GET", "/v1/jobs", { token: fixture.other.secretKey });
    expect(theirs.body.items.map(({ runId }) => runId)).not.toContain(body.run.id);
  });

  test("creates, changes, publishes and reads agents", async () => {
    const created = await call<Agent>(fixture, "POST", "/v1/agents", { token: secret, body: { name: "Ada" } });
    expect(created.status).toBe(201);
    expect(created.body).toMatchObject({
      id: ID("agent"),
      name: "Ada",
      draft: { model: { provider: "auto" }, doubleSend: "queue", queueClass: "priority", limits: { maxSteps: 12 } },
      publishedVersion: null,
      hasUnpublishedChanges: true,
      createdAt: TIME,
      updatedAt: TIME,
    });
    const path = `/v1/agents/${created.body.id}`;
    const changed = await call<Agent>(fixture, "PATCH", path, { token: secret, body: { instructions: "Be brief." } });
    expect(changed).toMatchObject({ status: 200, body: { name: "Ada", draft: { instructions: "Be brief." } } });
    const published = await call<AgentVersion>(fixture, "POST", `${path}/publish`, { token: secret });
    expect(published).toMatchObject({
      status: 201,
      body: { agentId: created.body.id, version: 1, config: { instructions: "Be brief." }, publishedAt: TIME },
    });
    const read = await call<Agent>(fixture, "GET", path, { token: secret });
    expect(read.body).toMatchObject({ publishedVersion: 1, hasUnpublishedChanges: false });
    const versions = await call<Page<AgentVersion>>(fixture, "GET", `${path}/versions`, { token: secret });
    expect(versions.body.items.map(({ version }) => version)).toEqual([1]);
    const list = await call<Page<Agent>>(fixture, "GET", "/v1/agents?limit=1", { token: secret });
    expect(list.body.items.map(({ id }) => id)).toEqual([created.body.id]);
    expect(list.body.nextCursor).toBe(created.body.id);
  });

  test("adds documents", async () => {
    const body = { title: "Returns", url: "https://shop.example/returns", text: "You may return within 30 days." };
    const created = await call<Document>(fixture, "POST", "/v1/documents", { token: secret, body });
    expect(created).toMatchObject({
      status: 201,
      body: {
        id: ID("doc"),
        title: "Returns",
        status: expect.stringMatching(/queued|ready/),
        error: null,
        createdAt: TIME,
      },
    });
    const read = await call<Document>(fixture, "GET", `/v1/documents/${created.body.id}`, { token: secret });
    expect(read).toMatchObject({ status: 200, body: { id: created.body.id } });
    const list = await call<Page<Document>>(fixture, "GET", "/v1/documents?limit=1", { token: secret });
    expect(list.body.items.map(({ id }) => id)).toEqual([created.body.id]);
  });
});

describe("the server", () => {
  test("is healthy and ready", async () => {
    expect(await call(fixture, "GET", "/healthz")).toMatchObject({ status: 200, body: { status: "ok" } });
    expect(await call(fixture, "GET", "/readyz")).toMatchObject({
      status: 200,
      body: { status: "ok", checks: { postgres: "ok" } },
    });
  });

  test("describes every route it has, in OpenAPI 3.1", async () => {
    const { status, body } = await call<{ openapi: string; paths: Record<string, Record<string, unknown>> }>(
      fixture,
      "GET",
      "/openapi.json",
    );
    expect(status).toBe(200);
    expect(body.openapi).toBe("3.1.0");
    expect(Object.keys(body.paths)).toEqual(
      expect.arrayContaining(["/v1/visitor-sessions", "/v1/runs/{runId}/stream", "/v1/agents/{agentId}/publish"]),
    );
    expect(JSON.stringify(body.paths["/v1/conversations/{conversationId}/messages"])).toContain("clientMessageId");
  });

  test("serves the API reference from itself", async () => {
    const page = await call<string>(fixture, "GET", "/docs");
    expect(page.status).toBe(200);
    expect(page.body).not.toMatch(/https?:\/\//);
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    const script = await fetch(`${fixture.url}/docs/scalar.js`, { headers: { "accept-encoding": "gzip" } });
    expect(script.headers.get("content-encoding")).toBe("gzip");
    expect(await script.text()).toContain("createApiReference");
  });

  test("logs one line a request with its correlation id, and never a credential or a body", async () => {
    const { id } = await converse(fixture, token);
    const before = fixture.logged.length;
    const { headers } = await call(fixture, "POST", `/v1/conversations/${id}/messages?secret=query`, {
      token,
      body: { clientMessageId: "log-1", text: "private words" },
      headers: { "x-request-id": "trace-42" },
    });
    expect(headers.get("x-request-id")).toBe("trace-42");
    const lines = fixture.logged.slice(before).filter(({ msg }) => msg === "request");
    expect(lines).toMatchObject([
      {
        correlationId: "trace-42",
        method: "POST",
        route: "/v1/conversations/{conversationId}/messages",
        status: 202,
        durationMs: expect.any(Number),
        tenantId: fixture.demo.tenantId,
        actor: "visitor",
      },
    ]);
    const text = JSON.stringify(fixture.logged);
    for (const secretText of [token, secret, "private words", "secret=query"]) expect(text).not.toContain(secretText);
    const events = await call<Page<Envelope>>(fixture, "GET", `/v1/conversations/${id}/events`, { token });
    expect(events.body.items.map(({ correlationId }) => correlationId)).toEqual(["trace-42", "trace-42", "trace-42"]);
  });

  test("makes a correlation id when the caller's is malformed", async () => {
    const { headers } = await call(fixture, "GET", "/healthz", { headers: { "x-request-id": "no spaces allowed" } });
    expect(headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
  });
});
