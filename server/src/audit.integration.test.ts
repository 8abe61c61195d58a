/**
 * Every route that changes something writes an entry of the audit log or is exempt, with its reason. What there is comes
 * from the document that the route table writes: a new route that is in neither list fails here.
 */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Invitation, Member, NewApiKey, Site } from "@agent-engine/protocol/administration.ts";
import type { AuditEntry, AuditVerdict } from "@agent-engine/protocol/audit-log.ts";
import type { Budget, ModelPrice } from "@agent-engine/protocol/budgets.ts";
import type { ProviderKey } from "@agent-engine/protocol/provider-keys.ts";
import { audit } from "@agent-engine/core/audit/audit.ts";
import type { Agent, Conversation, Page, Run, Submission } from "@agent-engine/protocol/resources.ts";
import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import { transact } from "@agent-engine/core/db/transaction.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { statement } from "@agent-engine/core/db/statement.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import type { ConnectionLink, InstalledToolkit, Tool } from "@agent-engine/protocol/toolkits.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { TOOLKIT } from "./isolation-fixture.ts";
import { PASSWORD } from "./people-fixture.ts";
import { call, converse, say, scopedKey, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

/** Why these leave no entry. They are what the product is used for, and each is on record elsewhere. */
const EXEMPT: Record<string, string> = {
  "POST /v1/visitor-sessions": "a visitor comes in: traffic, and nothing is configured by it",
  "POST /v1/conversations": "traffic: the conversation's log begins with it",
  "POST /v1/conversations/{conversationId}/messages": "traffic: the message is in the conversation's log",
  "PUT /v1/conversations/{conversationId}/client-tools":
    "traffic: what a page offers for a minute, by its visitor's browser",
  "POST /v1/runs": "traffic: the run and its message are in the conversation's log",
  "POST /v1/agents/{agentId}/mcp": "traffic: a question is a run, which is in its conversation's log",
  "POST /v1/realtime-tokens": "for the reader's own socket, for a minute: nothing is changed by it",
  "POST /v1/toolkits/openapi/preview": "only looks: a POST so that a document can be sent",
  "POST /v1/invitations/read": "only looks: a POST so that the token is in no address",
  "POST /v1/tenants": "an account makes a tenant of its own: the new tenant's log begins with who made it",
};

let fixture: ServerFixture;
let mails: MailServer;
let composio: ComposioServer;
let secret: string;

beforeAll(async () => {
  mails = await startMailServer();
  composio = await startComposioServer({ toolkits: 10 });
  fixture = await startServerFixture({
    accounts: { mail: { smtpUrl: mails.url, from: "no-reply@example.com" } },
    composio: { apiKey: composio.apiKey, baseUrl: composio.url, webhookSecret: null },
  });
  secret = fixture.demo.secretKey;
});
afterAll(async () => {
  await fixture.stop();
  await mails.stop();
  await composio.stop();
});

let requests = 0;
let toolkits = 0;
let lastRequest = "";

/** One request as the tenant's server, which must succeed. */
async function act<T = unknown>(
  method: string,
  path: string,
  body?: unknown,
  token: string | null = secret,
): Promise<T> {
  lastRequest = `audit-${++requests}`;
  const answer = await call<T>(fixture, method, path, {
    ...(token === null ? {} : { token }),
    ...(body === undefined ? {} : { body }),
    headers: { "x-request-id": lastRequest },
  });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

async function newAgent(): Promise<Agent> {
  return act<Agent>("POST", "/v1/agents", { name: "Audited" });
}

async function newSite(): Promise<Site> {
  return act<Site>("POST", "/v1/sites", { name: "Shop", agentId: fixture.demo.agentId });
}

/** A toolkit with an account of the tenant's that is on its way. */
async function newConnection(): Promise<{ toolkitId: string; connectionId: string }> {
  const { id: toolkitId } = await newToolkit();
  const { connectionId } = await act<ConnectionLink>("POST", "/v1/connections/link", { toolkitId });
  return { toolkitId, connectionId };
}

async function newToolkit(): Promise<InstalledToolkit> {
  const settings = { toolkit: "gmail", connections: "tenant", tools: ["GMAIL_FETCH_EMAILS"] };
  return act("POST", "/v1/toolkits", { kind: "composio", name: `mail${++toolkits}`, settings });
}

async function newKey(): Promise<NewApiKey> {
  return act<NewApiKey>("POST", "/v1/api-keys", { name: "CI", scopes: ["agents:read"] });
}

async function takenOver(): Promise<string> {
  const { id } = await act<Conversation>("POST", "/v1/conversations", { agentId: fixture.demo.agentId });
  await act("POST", `/v1/conversations/${id}/takeover`, { name: "Ada" });
  return id;
}

async function newSchedule(): Promise<Schedule> {
  const at = new Date(Date.now() + 3_600_000).toISOString();
  return act<Schedule>("POST", "/v1/schedules", { agentId: fixture.demo.agentId, at, input: "Say hello" });
}

let invited = 0;

async function invite(): Promise<{ member: Member; token: string }> {
  const email = `member${++invited}@acme.example`;
  const member = await act<Member>("POST", "/v1/members", { email, role: "viewer" });
  const mail = await waitFor(() => mails.received.find(({ to }) => to.includes(email)), {
    describe: `the invitation of ${email}`,
  });
  return { member, token: new URLSearchParams(/#(\S+)/.exec(mail.text)?.[1]).get("token") ?? "" };
}

async function startedRun(): Promise<Run> {
  return (await act<Submission>("POST", "/v1/runs", { agentId: fixture.demo.agentId, input: "Hello" })).run;
}

/** A run that waits for an approval, without a worker: as the database would have it. */
async function waitingRun(): Promise<Run> {
  const run = await startedRun();
  const park = statement(
    "test_park",
    `with head as (update conversation_heads set run_id = $1 where conversation_id = $2)
     update runs set status = 'waiting', interrupts = $3 where id = $1`,
  );
  const interrupts = JSON.stringify([{ id: "int_1", reason: "operator", metadata: {} }]);
  await transact(ctxOf(fixture), (tx) => tx.query(park, [uuidOf(run.id), uuidOf(run.conversationId), interrupts]));
  return run;
}

const BUDGET = { name: "A day", subject: "tenant", period: "day", maxRuns: 10 };

/** How each changing route is called so that it changes something; the last request is the route's. */
const EXERCISES: Record<string, () => Promise<unknown>> = {
  "POST /v1/agents": newAgent,
  "PATCH /v1/agents/{agentId}": async () => {
    const { id } = await newAgent();
    return act("PATCH", `/v1/agents/${id}`, { greeting: "Hello" });
  },
  "POST /v1/agents/{agentId}/publish": async () => {
    const { id } = await newAgent();
    return act("POST", `/v1/agents/${id}/publish`, {});
  },
  "POST /v1/documents": () => act("POST", "/v1/documents", { title: "Hours", text: "We open at nine." }),
  "POST /v1/sites": newSite,
  "PATCH /v1/sites/{siteId}": async () => {
    const { id } = await newSite();
    return act("PATCH", `/v1/sites/${id}`, { name: "Store" });
  },
  "POST /v1/sites/{siteId}/rotate": async () => {
    const { id } = await newSite();
    return act("POST", `/v1/sites/${id}/rotate`, {});
  },
  "DELETE /v1/sites/{siteId}": async () => {
    const { id } = await newSite();
    return act("DELETE", `/v1/sites/${id}`);
  },
  "PATCH /v1/sites/{siteId}/identity": async () => {
    const { id } = await newSite();
    const body = { algorithm: "ES256", jwksUrl: "https://shop.example/keys.json" };
    return act("PATCH", `/v1/sites/${id}/identity`, body);
  },
  "POST /v1/sites/{siteId}/identity-secret": async () => {
    const { id } = await newSite();
    return act("POST", `/v1/sites/${id}/identity-secret`, {});
  },
  "DELETE /v1/sites/{siteId}/identity": async () => {
    const { id } = await newSite();
    await act("POST", `/v1/sites/${id}/identity-secret`, {});
    return act("DELETE", `/v1/sites/${id}/identity`);
  },
  "POST /v1/conversations/{conversationId}/takeover": () => takenOver(),
  "POST /v1/conversations/{conversationId}/handback": async () =>
    act("POST", `/v1/conversations/${await takenOver()}/handback`),
  "POST /v1/conversations/{conversationId}/operator-messages": async () =>
    act("POST", `/v1/conversations/${await takenOver()}/operator-messages`, { text: "Hello, I am Ada" }),
  "POST /v1/schedules": newSchedule,
  "DELETE /v1/schedules/{scheduleId}": async () => {
    const { id } = await newSchedule();
    return act("DELETE", `/v1/schedules/${id}`);
  },
  "POST /v1/toolkits": newToolkit,
  "PATCH /v1/toolkits/{toolkitId}": async () => {
    const { id } = await newToolkit();
    return act("PATCH", `/v1/toolkits/${id}`, { title: "Mails" });
  },
  "POST /v1/toolkits/{toolkitId}/refresh": async () => {
    const { id } = await newToolkit();
    return act("POST", `/v1/toolkits/${id}/refresh`);
  },
  "DELETE /v1/toolkits/{toolkitId}": async () => {
    const { id } = await newToolkit();
    return act("DELETE", `/v1/toolkits/${id}`);
  },
  "POST /v1/tools/{toolId}/test": async () => {
    const { id } = await act<InstalledToolkit>("POST", "/v1/toolkits", { ...TOOLKIT, name: `shop${++toolkits}` });
    const { items } = await act<Page<Tool>>("GET", `/v1/tools?toolkitId=${id}`);
    return act("POST", `/v1/tools/${items[0]?.id}/test`, {});
  },
  "POST /v1/connections/link": newConnection,
  "PATCH /v1/connections/{connectionId}": async () => {
    const { connectionId } = await newConnection();
    return act("PATCH", `/v1/connections/${connectionId}`, { label: "Support" });
  },
  "DELETE /v1/connections/{connectionId}": async () => {
    const { connectionId } = await newConnection();
    return act("DELETE", `/v1/connections/${connectionId}`);
  },
  "PATCH /v1/tenant": () => act("PATCH", "/v1/tenant", { retentionDays: 365 }),
  "POST /v1/visitors/{visitorId}/revoke-sessions": async () => {
    const { visitor } = await visit(fixture);
    return act("POST", `/v1/visitors/${visitor.id}/revoke-sessions`, {});
  },
  "DELETE /v1/visitors/{visitorId}": async () => {
    const { visitor } = await visit(fixture);
    return act("DELETE", `/v1/visitors/${visitor.id}`);
  },
  "POST /v1/api-keys": newKey,
  "POST /v1/api-keys/{apiKeyId}/rotate": async () => {
    const { id } = await newKey();
    return act("POST", `/v1/api-keys/${id}/rotate`, { overlapSeconds: 60 });
  },
  "DELETE /v1/api-keys/{apiKeyId}": async () => {
    const { id } = await newKey();
    return act("DELETE", `/v1/api-keys/${id}`);
  },
  "POST /v1/members": invite,
  "PATCH /v1/members/{memberId}": async () => {
    const { member } = await invite();
    return act("PATCH", `/v1/members/${member.id}`, { role: "operator" });
  },
  "DELETE /v1/members/{memberId}": async () => {
    const { member } = await invite();
    return act("DELETE", `/v1/members/${member.id}`);
  },
  "POST /v1/invitations/accept": async () => {
    const { token } = await invite();
    return act<Invitation>("POST", "/v1/invitations/accept", { token, name: "Ada", password: PASSWORD }, null);
  },
  "POST /v1/provider-keys": () =>
    act("POST", "/v1/provider-keys", { provider: "openai", apiKey: "vendor-key-of-the-tenant" }),
  "DELETE /v1/provider-keys/{providerKeyId}": async () => {
    const body = { provider: "openai", apiKey: "vendor-key-of-the-tenant" };
    const { id } = await act<ProviderKey>("POST", "/v1/provider-keys", body);
    return act("DELETE", `/v1/provider-keys/${id}`);
  },
  "POST /v1/budgets": () => act("POST", "/v1/budgets", BUDGET),
  "PATCH /v1/budgets/{budgetId}": async () => {
    const { id } = await act<Budget>("POST", "/v1/budgets", BUDGET);
    return act("PATCH", `/v1/budgets/${id}`, { maxRuns: 20 });
  },
  "DELETE /v1/budgets/{budgetId}": async () => {
    const { id } = await act<Budget>("POST", "/v1/budgets", BUDGET);
    return act("DELETE", `/v1/budgets/${id}`);
  },
  "POST /v1/model-prices": () => act("POST", "/v1/model-prices", { model: "our-model", input: 1, output: 2 }),
  "DELETE /v1/model-prices/{priceId}": async () => {
    const { id } = await act<ModelPrice>("POST", "/v1/model-prices", { model: "our-model", input: 1, output: 3 });
    return act("DELETE", `/v1/model-prices/${id}`);
  },
  "POST /v1/runs/{runId}/cancel": async () => {
    const { id } = await startedRun();
    return act("POST", `/v1/runs/${id}/cancel`, {});
  },
  "POST /v1/runs/{runId}/resume": async () => {
    const { id } = await waitingRun();
    return act("POST", `/v1/runs/${id}/resume`, { interruptId: "int_1", decision: "abort" });
  },
  "POST /v1/runs/{runId}/fork": async () => {
    const { id } = await startedRun();
    return act("POST", `/v1/runs/${id}/fork`, {});
  },
};

async function entriesOf(correlationId: string): Promise<AuditEntry[]> {
  const { items } = await list("?limit=20");
  return items.filter((entry) => entry.correlationId === correlationId);
}

async function list(query: string): Promise<Page<AuditEntry>> {
  return (await call<Page<AuditEntry>>(fixture, "GET", `/v1/audit-log${query}`, { token: secret })).body;
}

describe("every changing route of the table", () => {
  test("is exercised here or exempt, and nothing here has become void", async () => {
    const { body } = await call<{ paths: Record<string, object> }>(fixture, "GET", "/openapi.json");
    const changing = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).flatMap((method) => (method === "get" ? [] : [`${method.toUpperCase()} ${path}`])),
    );
    expect(changing.toSorted()).toEqual([...Object.keys(EXERCISES), ...Object.keys(EXEMPT)].toSorted());
    for (const reason of Object.values(EXEMPT)) expect(reason.length).toBeGreaterThan(20);
  });

  test.each(Object.keys(EXERCISES))("%s leaves one entry, in the name of who asked", async (route) => {
    const before = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
    await EXERCISES[route]?.();
    const entries = await entriesOf(lastRequest);
    expect(entries).toHaveLength(1);
    const isKey = route !== "POST /v1/invitations/accept";
    expect(entries[0]).toMatchObject({
      action: expect.stringMatching(/^[a-z_]+\.[a-z_]+$/),
      actor: { kind: isKey ? "secret_key" : "member", id: expect.stringMatching(isKey ? /^key_/ : /^member_/) },
      target: { kind: expect.stringMatching(/^[a-z_]+$/), id: expect.stringMatching(/^[a-z]+_[0-9a-f]{32}$/) },
      ip: expect.stringMatching(/^[0-9a-f.:]+$/),
    });
    const after = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
    expect(after).toMatchObject({ valid: true });
    expect(after.entries).toBeGreaterThan(before.entries);
  });

  test("a request that is refused leaves none", async () => {
    const { id } = await newAgent();
    const { lastHash } = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
    for (const [method, path, body] of [
      ["PATCH", `/v1/agents/${id}`, { greeting: 7 }],
      ["PATCH", `/v1/agents/${fixture.other.agentId}`, { greeting: "Hello" }],
      ["POST", "/v1/provider-keys", { provider: "openai", apiKey: "short" }],
      ["DELETE", `/v1/provider-keys/pkey_${"0".repeat(32)}`, undefined],
    ] as const) {
      const answer = await call(fixture, method, path, { token: secret, body });
      expect(answer.status).toBeGreaterThanOrEqual(400);
    }
    const verdict = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
    expect(verdict.lastHash).toBe(lastHash);
  });

  test("a replayed request leaves one entry, not two", async () => {
    const headers = { "idempotency-key": "once", "x-request-id": "audit-replayed" };
    const body = { provider: "openai", apiKey: "vendor-key-of-the-tenant" };
    for (let n = 0; n < 2; n++) await call(fixture, "POST", "/v1/provider-keys", { token: secret, body, headers });
    expect(await entriesOf("audit-replayed")).toHaveLength(1);
  });
});

test("what a visitor does with their own conversation is in its log, and not in this one", async () => {
  const { visitorToken } = await visit(fixture);
  const { id } = await converse(fixture, visitorToken);
  const { run } = await say(fixture, visitorToken, id, "hello");
  const { lastHash } = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
  await act("POST", `/v1/runs/${run.id}/cancel`, {}, visitorToken);
  const verdict = (await call<AuditVerdict>(fixture, "GET", "/v1/audit-log/verify", { token: secret })).body;
  expect(verdict).toMatchObject({ valid: true, lastHash });
});

describe("the log over HTTP", () => {
  test("is read by pages and filters", async () => {
    const { id } = await newAgent();
    await act("PATCH", `/v1/agents/${id}`, { greeting: "Hi" });
    const both = await list(`?target=${id}`);
    expect(both.items.map(({ action }) => action)).toEqual(["agent.updated", "agent.created"]);
    expect(both.items[0]).toMatchObject({ before: { greeting: null }, after: { greeting: "Hi" } });
    expect((await list(`?target=${id}&action=agent.created`)).items).toHaveLength(1);
    const first = await list(`?target=${id}&limit=1`);
    expect((await list(`?target=${id}&limit=1&cursor=${first.nextCursor}`)).items).toEqual([both.items[1]]);
    const at = encodeURIComponent(both.items[0]?.at.replace("Z", "+00:00") ?? "");
    expect((await list(`?target=${id}&from=${at}`)).items.map(({ action }) => action)).toContain("agent.updated");
    expect((await list(`?target=${id}&to=${at}`)).items.map(({ action }) => action)).not.toContain("agent.updated");
  });

  test("refuses filters that cannot be meant", async () => {
    for (const query of ["from=yesterday", "to=2026-13-01T00:00:00Z", "limit=0", "cursor=x"]) {
      const { status, body } = await call(fixture, "GET", `/v1/audit-log?${query}`, { token: secret });
      expect([query, status, body.code]).toEqual([query, 400, "invalid_request"]);
    }
    for (const query of ["seq=1", "after=1", "after=0&afterHash=x", `hash=${"0".repeat(64)}`, "seq=1&hash=zz"]) {
      const { status } = await call(fixture, "GET", `/v1/audit-log/verify?${query}`, { token: secret });
      expect([query, status]).toEqual([query, 400]);
    }
  });

  test("is exported as lines, oldest first, which hold everything that a check needs", async () => {
    const ctx = ctxOf(fixture);
    await transact(ctx, async (tx) => {
      const target = { kind: "tenant", id: ctx.tenantId };
      for (let n = 0; n < 1_100; n++) await audit(ctx, tx, { action: "test.filled", target, after: { n } });
    });
    const response = await fetch(`${fixture.url}/v1/audit-log`, {
      headers: { authorization: `Bearer ${secret}`, accept: "application/jsonl" },
    });
    expect(response.headers.get("content-type")).toBe("application/jsonl");
    const lines = (await response.text()).split("\n");
    expect(lines.pop()).toBe("");
    const entries = lines.map((line) => JSON.parse(line) as AuditEntry);
    expect(entries.length).toBeGreaterThan(1_100);
    expect(entries.map(({ seq }) => seq)).toEqual(entries.map((_, index) => index + 1));
    for (const [index, { hash, previousHash }] of entries.entries()) {
      expect(previousHash).toBe(index === 0 ? "0".repeat(64) : entries[index - 1]?.hash);
      expect(hash).toMatch(/^[0-9a-f]{64}$/);
    }
    const filled = await fetch(`${fixture.url}/v1/audit-log?action=test.filled`, {
      headers: { authorization: `Bearer ${secret}`, accept: "application/jsonl" },
    });
    expect((await filled.text()).trim().split("\n")).toHaveLength(1_100);
  });

  test("tells whether an entry that somebody kept is still part of it", async () => {
    const kept = (await list("?limit=1")).items[0];
    const check = (hash: string) =>
      call<AuditVerdict>(fixture, "GET", `/v1/audit-log/verify?seq=${kept?.seq}&hash=${hash}`, { token: secret });
    expect((await check(kept?.hash ?? "")).body).toMatchObject({ valid: true });
    const other = createHash("sha256").update("another").digest("hex");
    expect((await check(other)).body).toMatchObject({ valid: false, problem: { kind: "rewritten", seq: kept?.seq } });
  });

  test("is checked in portions, so that no chain holds a request for long", async () => {
    const ctx = ctxOf(fixture);
    const fill = statement("test_fill", "select append_audit($1, $2) from generate_series(1, 1000)");
    const entry = JSON.stringify({ action: "test.filled", at: "" });
    for (let n = 0; n < 10; n++) await transact(ctx, (tx) => tx.query(fill, [uuidOf(ctx.tenantId), entry]));
    const verify = async (query: string) =>
      (await call<AuditVerdict>(fixture, "GET", `/v1/audit-log/verify${query}`, { token: secret })).body;
    const first = await verify("");
    expect(first).toMatchObject({ valid: true, isComplete: false, entries: 10_000 });
    const last = await verify(`?after=${first.entries}&afterHash=${first.lastHash}`);
    expect(last).toMatchObject({ valid: true, isComplete: true });
    expect(last.lastHash).toBe((await list("?limit=1")).items[0]?.hash);
  });

  test("is for who has the permission, and shows another tenant nothing", async () => {
    const { id } = await newAgent();
    const without = await call(fixture, "GET", "/v1/audit-log", {
      token: await scopedKey(fixture, "agents:read"),
    });
    expect(without).toMatchObject({ status: 403 });
    const theirs = await call<Page<AuditEntry>>(fixture, "GET", `/v1/audit-log?target=${id}`, {
      token: fixture.other.secretKey,
    });
    expect(theirs.body.items).toEqual([]);
  });
});

function ctxOf({ services, demo }: ServerFixture): Ctx {
  return { services, tenantId: demo.tenantId, actor: { kind: "worker" }, correlationId: "test" };
}
