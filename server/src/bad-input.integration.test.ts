import { connect } from "node:net";
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { problems, type ProblemCode } from "@agent-engine/protocol/problems.ts";
import type { Conversation, Problem, Submission, VisitorSession } from "@agent-engine/protocol/resources.ts";
import {
  call,
  converse,
  ORIGIN,
  say,
  scopedKey,
  startServerFixture,
  visit,
  type Answer,
  type ServerFixture,
} from "./server-fixture.ts";

const UNKNOWN = "0198c0de00007000800000000000cafe";

let fixture: ServerFixture;
let token: string;
let secret: string;
let conversation: Conversation;
let submission: Submission;

beforeAll(async () => {
  fixture = await startServerFixture();
  token = (await visit(fixture)).visitorToken;
  secret = fixture.demo.secretKey;
  conversation = await converse(fixture, token);
  submission = await say(fixture, token, conversation.id, "hello");
});
afterAll(() => fixture.stop());

/** Every error has the same form, and its words never show our insides. */
function expectProblem(answer: Answer<Problem>, code: ProblemCode): void {
  expect(answer.body).toMatchObject({
    type: `urn:agent-engine:problem:${code}`,
    title: problems[code].title,
    status: problems[code].status,
    code,
    detail: expect.stringMatching(/\S.*[.!]$/s),
    requestId: answer.headers.get("x-request-id"),
  });
  expect(answer.status).toBe(problems[code].status);
  expect(answer.headers.get("content-type")).toBe("application/problem+json");
  expect(JSON.stringify(answer.body)).not.toMatch(/select |insert |postgres|node_modules|\.ts:/i);
}

describe("a body", () => {
  const send = (body: unknown, headers = {}) =>
    call(fixture, "POST", `/v1/conversations/${conversation.id}/messages`, { token, body, headers });

  test("that is not JSON", async () => {
    for (const body of ["{", "{'text': 1}", "undefined", '{"text":"a"}x', "\u0000"]) {
      const answer = await send(body);
      expectProblem(answer, "invalid_request");
      expect(answer.body.detail).toMatch(/not valid JSON/);
    }
  });

  test("that is JSON of another kind", async () => {
    for (const body of ["[]", "null", "3", '"text"', "true"]) expectProblem(await send(body), "invalid_request");
  });

  test("of another content type", async () => {
    const answer = await send("text=hello", { "content-type": "application/x-www-form-urlencoded" });
    expectProblem(answer, "invalid_request");
    expect(answer.body.detail).toMatch(/application\/json/);
  });

  test.each([
    [{}, "`clientMessageId` is required (string). `text` is required (string)."],
    [{ clientMessageId: "m", text: 5 }, "`text` must be a string, not a number."],
    [{ clientMessageId: "m", text: null }, "`text` must be a string, not null."],
    [{ clientMessageId: "m", text: "" }, "`text` must not be empty."],
    [{ clientMessageId: "m", text: " \n\t " }, "`text` must not be empty."],
    [{ clientMessageId: "m", text: "x".repeat(32_001) }, "`text` must be at most 32000 characters long."],
    [{ clientMessageId: "", text: "hi" }, /`clientMessageId`/],
    [{ clientMessageId: "with space", text: "hi" }, /`clientMessageId` must be printable ASCII without spaces/],
    [{ clientMessageId: "m", text: "hi", extra: 1 }, "`extra` is not a field of this request. Remove it."],
    [{ clientMessageId: "m", text: "hi", attachments: [{}] }, /attachments/],
  ])("with wrong fields: %j", async (body, detail) => {
    const answer = await send(body);
    expectProblem(answer, "invalid_request");
    if (typeof detail === "string") expect(answer.body.detail).toBe(detail);
    else expect(answer.body.detail).toMatch(detail);
  });

  test("of 1 MB, declared or not", async () => {
    const text = "x".repeat(1_000_000);
    expectProblem(await send({ clientMessageId: "big", text }), "too_large");
    const chunked = await fetch(`${fixture.url}/v1/conversations/${conversation.id}/messages`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: new Blob([JSON.stringify({ clientMessageId: "big", text })]).stream(),
      duplex: "half",
    });
    expect(chunked.status).toBe(413);
  });

  test("nested too deep, or holding what Postgres cannot store", async () => {
    expectProblem(await send(`{"text":${"[".repeat(5_000)}${"]".repeat(5_000)}}`), "invalid_request");
    const answer = await call<Submission>(fixture, "POST", `/v1/conversations/${conversation.id}/messages`, {
      token,
      body: '{"clientMessageId":"nul","text":"a\\u0000b\\ud800c"}',
    });
    expect(answer.status).toBe(202);
    expect(answer.body.message.text).toBe("a\uFFFDb\uFFFDc");
    const agent = await call(fixture, "POST", "/v1/agents", {
      token: secret,
      body: `{"name":"n","toolkits":[{"toolkit":"http","tools":{"\\u0000key":"auto"},"settings":{
        "name":"shop","baseUrl":"https://shop.example",
        "operations":[{"name":"stock","description":"\\ud800\\u0000","method":"GET","path":"/stock"}]}}]}`,
    });
    expect(agent.status).toBe(201);
  });
});

describe("a query", () => {
  test.each([
    ["/v1/conversations?limit=0", /`limit` must be between 1 and 100/],
    ["/v1/conversations?limit=101", /`limit`/],
    ["/v1/conversations?limit=ten", /`limit` must be a whole number/],
    ["/v1/conversations?limit=-1", /`limit`/],
    ["/v1/conversations?cursor=nonsense", /`cursor`/],
    ["/v1/conversations?cursor=%00", /`cursor`/],
    ["{conversation}/events?after=-1", /`after`/],
    ["{conversation}/events?after=1.5", /`after`/],
    ["{conversation}/events?after=99999999999999999999", /`after`/],
    ["{conversation}/events?limit=1001", /`limit` must be between 1 and 1000/],
    ["{conversation}/state?at=x", /`at`/],
    ["{conversation}/stream?after=x", /`after`/],
  ])("%s", async (path, detail) => {
    const answer = await call(fixture, "GET", path.replace("{conversation}", `/v1/conversations/${conversation.id}`), {
      token,
    });
    expectProblem(answer, "invalid_request");
    expect(answer.body.detail).toMatch(detail);
  });

  test("of characters that cannot be stored finds nothing", async () => {
    for (const path of ["/v1/audit-log?action=%00", "/v1/audit-log?actor=a%00b", "/v1/visitors?externalId=%00"]) {
      const answer = await call<{ items: unknown[] }>(fixture, "GET", path, { token: secret });
      expect([path, answer.status, answer.body.items]).toEqual([path, 200, []]);
    }
  });

  test("Last-Event-ID", async () => {
    const headers = { "last-event-id": "msg_1" };
    expectProblem(
      await call(fixture, "GET", `/v1/conversations/${conversation.id}/stream`, { token, headers }),
      "invalid_request",
    );
  });
});

describe("an id", () => {
  const paths = (conversationId: string, runId: string) =>
    [
      ["GET", `/v1/conversations/${conversationId}`],
      ["GET", `/v1/conversations/${conversationId}/events`],
      ["GET", `/v1/conversations/${conversationId}/stream`],
      ["GET", `/v1/conversations/${conversationId}/state`],
      ["POST", `/v1/conversations/${conversationId}/messages`],
      ["GET", `/v1/runs/${runId}`],
      ["GET", `/v1/runs/${runId}/events`],
      ["GET", `/v1/runs/${runId}/stream`],
      ["POST", `/v1/runs/${runId}/cancel`],
      ["POST", `/v1/runs/${runId}/resume`],
    ] as const;
  const bodyOf = (path: string) => {
    if (path.endsWith("/messages")) return { clientMessageId: "m", text: "hi" };
    return path.endsWith("/resume") ? { interruptId: "int_1", decision: "approve" } : undefined;
  };
  const visitAll = async (bearer: string, conversationId: string, runId: string) => {
    const bodies = new Set<string>();
    for (const [method, path] of paths(conversationId, runId)) {
      const body = bodyOf(path);
      const answer = await call(fixture, method, path, { token: bearer, ...(body ? { body } : {}) });
      expectProblem(answer, "not_found");
      bodies.add(answer.body.detail);
    }
    return bodies;
  };

  test("unknown, malformed or another's answers the very same 404", async () => {
    const unknown = await visitAll(token, `conv_${UNKNOWN}`, `run_${UNKNOWN}`);
    for (const malformed of [
      "x",
      "conv_1",
      `run_${UNKNOWN}`,
      "%00",
      "conv_" + "z".repeat(32),
      "'; drop table runs; --",
    ]) {
      expect(await visitAll(token, encodeURIComponent(malformed), encodeURIComponent(`${malformed}x`))).toEqual(
        unknown,
      );
    }
    const neighbour = (await visit(fixture)).visitorToken;
    expect(await visitAll(neighbour, conversation.id, submission.run.id)).toEqual(unknown);
    const otherVisitor = (await visit(fixture, fixture.other, "https://other.example")).visitorToken;
    expect(await visitAll(otherVisitor, conversation.id, submission.run.id)).toEqual(unknown);
    expect(await visitAll(fixture.other.secretKey, conversation.id, submission.run.id)).toEqual(unknown);
  });

  test("of another tenant in a body or a path of a secret key", async () => {
    const mine = fixture.demo.agentId;
    const theirs = fixture.other.secretKey;
    for (const [method, path, body] of [
      ["POST", "/v1/conversations", { agentId: mine }],
      ["POST", "/v1/runs", { agentId: mine, input: "hi" }],
      ["POST", "/v1/runs", { agentId: fixture.other.agentId, input: "hi", conversationId: conversation.id }],
      ["GET", `/v1/agents/${mine}`, undefined],
      ["PATCH", `/v1/agents/${mine}`, { name: "mine now" }],
      ["POST", `/v1/agents/${mine}/publish`, undefined],
      ["GET", `/v1/agents/${mine}/versions`, undefined],
      ["GET", `/v1/documents/doc_${UNKNOWN}`, undefined],
    ] as const) {
      const answer = await call(fixture, method, path, { token: theirs, ...(body ? { body } : {}) });
      expectProblem(answer, "not_found");
    }
  });

  test("another visitor's agent is not theirs to talk to", async () => {
    const body = { agentId: fixture.other.agentId };
    expectProblem(await call(fixture, "POST", "/v1/conversations", { token, body }), "not_found");
  });
});

describe("a credential", () => {
  test("is needed on every route but those that take one in their body", async () => {
    const { body } = await call<{ paths: Record<string, Record<string, unknown>> }>(fixture, "GET", "/openapi.json");
    let visited = 0;
    for (const [path, methods] of Object.entries(body.paths)) {
      for (const method of Object.keys(methods)) {
        if (["/v1/visitor-sessions", "/v1/invitations/read", "/v1/invitations/accept"].includes(path)) continue;
        const url = path.replaceAll(/\{\w+\}/g, "x");
        for (const bad of [undefined, fixture.demo.publishableKey, "sk_unknown", "rubbish", "a.b.c"]) {
          const answer = await call(fixture, method.toUpperCase(), url, bad === undefined ? {} : { token: bad });
          expectProblem(answer, "unauthenticated");
          expect(answer.headers.get("www-authenticate")).toBe("Bearer");
          visited++;
        }
      }
    }
    expect(visited).toBeGreaterThan(80);
  });

  test("forged, altered or unsigned", async () => {
    const [header = "", payload = "", signature = ""] = token.split(".");
    const claims = JSON.parse(Buffer.from(payload, "base64url").toString());
    const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const other = await visit(fixture, fixture.other, "https://other.example");
    const stolen = encode({ ...claims, sub: other.visitor.id, tenant: fixture.other.tenantId });
    const signedBy = (key: string, head: unknown) => {
      const text = `${encode(head)}.${payload}`;
      return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
    };
    for (const forged of [
      `${header}.${stolen}.${signature}`,
      `${header}.${payload}.${signature.slice(0, -2)}AA`,
      `${header}.${payload}.`,
      `${encode({ alg: "none", typ: "JWT" })}.${payload}.`,
      signedBy("", JSON.parse(Buffer.from(header, "base64url").toString())),
      signedBy("k".repeat(32), JSON.parse(Buffer.from(header, "base64url").toString())),
      signedBy("x", { alg: "HS256" }),
    ]) {
      expectProblem(await call(fixture, "GET", "/v1/conversations", { token: forged }), "unauthenticated");
    }
  });

  test("in another form than a bearer", async () => {
    for (const authorization of [secret, `Basic ${secret}`, `Bearer`, `Bearer  `, `Bearer ${secret} extra`]) {
      const answer = await call(fixture, "GET", "/v1/agents", { headers: { authorization } });
      expectProblem(answer, "unauthenticated");
    }
  });

  test("of a visitor opens no staff route", async () => {
    for (const [method, path] of [
      ["POST", "/v1/runs"],
      ["GET", "/v1/runs"],
      ["GET", "/v1/jobs"],
      ["GET", "/v1/agents"],
      ["POST", "/v1/agents"],
      ["PATCH", `/v1/agents/${fixture.demo.agentId}`],
      ["POST", `/v1/agents/${fixture.demo.agentId}/publish`],
      ["GET", "/v1/documents"],
      ["POST", "/v1/documents"],
    ] as const) {
      expectProblem(await call(fixture, method, path, { token }), "forbidden");
    }
  });

  test("whose scopes do not reach", async () => {
    const key = await scopedKey(fixture, "agents:read");
    expect((await call(fixture, "GET", "/v1/agents", { token: key })).status).toBe(200);
    const answer = await call(fixture, "POST", "/v1/agents", { token: key, body: { name: "x" } });
    expectProblem(answer, "forbidden");
    expect(answer.body.detail).toContain("agents:write");
    expectProblem(await call(fixture, "GET", "/v1/conversations", { token: key }), "forbidden");
  });

  test("of a visitor works from its own origin only", async () => {
    const from = (origin: string) => call(fixture, "GET", "/v1/conversations", { token, headers: { origin } });
    expect((await from(ORIGIN)).status).toBe(200);
    for (const origin of ["https://evil.example", "null", "https://shop.example.evil.example", "http://shop.example"]) {
      expectProblem(await from(origin), "origin_not_allowed");
    }
  });
});

describe("an origin", () => {
  const open = (headers: Record<string, string>, publishableKey = fixture.demo.publishableKey) =>
    call<VisitorSession & Problem>(fixture, "POST", "/v1/visitor-sessions", { body: { publishableKey }, headers });

  test("on the site's list opens a session and may read the answer", async () => {
    for (const origin of [ORIGIN, "https://a.wild.example", "https://a.b.wild.example"]) {
      const { status, headers } = await open({ origin });
      expect(status).toBe(201);
      expect(headers.get("access-control-allow-origin")).toBe(origin);
      expect(headers.get("access-control-allow-credentials")).toBeNull();
      expect(headers.get("vary")).toContain("Origin");
    }
  });

  test.each([
    ["missing", {}],
    ["null", { origin: "null" }],
    ["unknown", { origin: "https://evil.example" }],
    ["of another scheme", { origin: "http://shop.example" }],
    ["the bare domain of a wildcard", { origin: "https://wild.example" }],
    ["with a path", { origin: `${ORIGIN}/` }],
  ] as [string, Record<string, string>][])("%s is refused, and its page may read why", async (_, headers) => {
    const answer = await open(headers);
    expectProblem(answer, "origin_not_allowed");
    expect(answer.headers.get("access-control-allow-origin")).toBe(headers["origin"] ?? null);
    expect(answer.headers.get("access-control-allow-credentials")).toBeNull();
  });

  test("of another tenant's site is refused", async () => {
    expectProblem(await open({ origin: "https://other.example" }), "origin_not_allowed");
  });

  test("with an unknown publishable key", async () => {
    expectProblem(await open({ origin: ORIGIN }, "pk_unknown"), "unauthenticated");
    expectProblem(await open({ origin: ORIGIN }, secret), "unauthenticated");
    expectProblem(await open({ origin: ORIGIN }, "pk_\u0000"), "unauthenticated");
  });

  test("gets a preflight on visitor routes when some site knows it", async () => {
    const preflight = (path: string, origin: string, method: string) =>
      call<string>(fixture, "OPTIONS", path, { headers: { origin, "access-control-request-method": method } });
    for (const [path, method] of [
      [`/v1/conversations/${conversation.id}/messages`, "POST"],
      [`/v1/runs/${submission.run.id}/cancel`, "POST"],
    ] as const) {
      const allowed = await preflight(path, ORIGIN, method);
      expect(allowed.status).toBe(204);
      expect(allowed.headers.get("access-control-allow-origin")).toBe(ORIGIN);
      expect(allowed.headers.get("access-control-allow-methods")).toContain(method);
      expect(allowed.headers.get("access-control-allow-headers")).toContain("idempotency-key");
      expect(allowed.headers.get("access-control-allow-credentials")).toBeNull();
      const refused = await preflight(path, "https://evil.example", method);
      expect(refused.status).toBe(403);
      expect(refused.headers.get("access-control-allow-origin")).toBeNull();
    }
    const session = await preflight("/v1/visitor-sessions", "https://evil.example", "POST");
    expect(session.status).toBe(204);
    expect(session.headers.get("access-control-allow-origin")).toBe("https://evil.example");
    const staff = await preflight("/v1/agents", ORIGIN, "POST");
    expect(staff.status).toBe(405);
    expect(staff.headers.get("access-control-allow-origin")).toBeNull();
  });

  test("may read why its request failed", async () => {
    const { status, headers } = await call(fixture, "GET", "/v1/conversations", {
      token: "ended",
      headers: { origin: ORIGIN },
    });
    expect(status).toBe(401);
    expect(headers.get("access-control-allow-origin")).toBe(ORIGIN);
  });
});

describe("the same request twice", () => {
  test("in parallel with one clientMessageId is one message and one run", async () => {
    const { id } = await converse(fixture, token);
    const body = { clientMessageId: "twice", text: "once" };
    const answers = await Promise.all(
      Array.from({ length: 12 }, () =>
        call<Submission>(fixture, "POST", `/v1/conversations/${id}/messages`, { token, body }),
      ),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    expect(new Set(answers.map((answer) => answer.body.message.id)).size).toBe(1);
    expect(new Set(answers.map((answer) => answer.body.run.id)).size).toBe(1);
    const read = await call<Conversation>(fixture, "GET", `/v1/conversations/${id}`, { token });
    expect(read.body.lastSeq).toBe(3);
    const other = await call(fixture, "POST", `/v1/conversations/${id}/messages`, {
      token,
      body: { ...body, text: "other words" },
    });
    expectProblem(other, "idempotency_mismatch");
  });

  test("with one Idempotency-Key answers the saved response; with another body it is a mistake", async () => {
    const headers = { "idempotency-key": "key-1" };
    const first = await call<Conversation>(fixture, "POST", "/v1/conversations", { token, body: {}, headers });
    expect(first.headers.get("idempotency-replayed")).toBeNull();
    const again = await call<Conversation>(fixture, "POST", "/v1/conversations", { token, body: {}, headers });
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    const body = { agentId: fixture.demo.agentId };
    expectProblem(await call(fixture, "POST", "/v1/conversations", { token, body, headers }), "idempotency_mismatch");
    const message = { clientMessageId: "i1", text: "hi" };
    const elsewhere = `/v1/conversations/${conversation.id}/messages`;
    expectProblem(await call(fixture, "POST", elsewhere, { token, body: message, headers }), "idempotency_mismatch");
    const neighbour = (await visit(fixture)).visitorToken;
    const theirs = await call<Conversation>(fixture, "POST", "/v1/conversations", {
      token: neighbour,
      body: {},
      headers,
    });
    expect(theirs.status).toBe(201);
    expect(theirs.body.id).not.toBe(first.body.id);
  });

  test("in parallel with one Idempotency-Key is done once: the others replay or are told to wait", async () => {
    const headers = { "idempotency-key": "key-parallel" };
    const body = { name: "Parallel" };
    const answers = await Promise.all(
      Array.from({ length: 12 }, () =>
        call<Problem & { id: string }>(fixture, "POST", "/v1/agents", { token: secret, body, headers }),
      ),
    );
    const done = answers.filter(({ status }) => status === 201);
    expect(new Set(done.map((answer) => answer.body.id)).size).toBe(1);
    for (const answer of answers.filter(({ status }) => status !== 201)) {
      expectProblem(answer, "idempotency_in_flight");
      expect(answer.headers.get("retry-after")).toBe("1");
    }
  });

  test("for a visitor session gives the same visitor and the same token", async () => {
    const headers = { origin: ORIGIN, "idempotency-key": "session-1" };
    const body = { publishableKey: fixture.demo.publishableKey };
    const first = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", { body, headers });
    const again = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", { body, headers });
    expect(again).toMatchObject({ status: 201, body: first.body });
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    const elsewhere = { ...headers, "x-forwarded-for": "203.0.113.9" };
    const guessed = await call(fixture, "POST", "/v1/visitor-sessions", { body, headers: elsewhere });
    expectProblem(guessed, "idempotency_mismatch");
  });

  test("with a malformed Idempotency-Key", async () => {
    for (const key of ["x".repeat(256), "with space"]) {
      const headers = { "idempotency-key": key };
      expectProblem(await call(fixture, "POST", "/v1/conversations", { token, body: {}, headers }), "invalid_request");
    }
  });
});

describe("a route", () => {
  test("that does not exist", async () => {
    for (const path of [
      "/",
      "/v1",
      "/v1/nothing",
      "/v1/conversations/",
      "/widget/../../package.json",
      "/%2e%2e/etc/passwd",
    ]) {
      expectProblem(await call(fixture, "GET", path, { token }), "not_found");
    }
  });

  test("by another method says which it takes", async () => {
    const answer = await call(fixture, "DELETE", "/v1/conversations", { token });
    expectProblem(answer, "method_not_allowed");
    expect(answer.headers.get("allow")).toBe("POST, GET");
    expectProblem(await call(fixture, "PUT", `/v1/runs/${submission.run.id}/cancel`, { token }), "method_not_allowed");
  });

  test("an upgrade on another path is closed at once", async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      let text = "";
      const socket = connect(fixture.server.port, "127.0.0.1", () => {
        socket.write("GET /elsewhere HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
      });
      socket.on("data", (data) => (text += data.toString()));
      socket.on("close", () => resolve(text));
      socket.on("error", reject);
    });
    expect(answer).toMatch(/^HTTP\/1\.1 404/);
  });
});
