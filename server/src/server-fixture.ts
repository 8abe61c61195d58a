/** A real server on a database of its own, with two tenants: for the integration tests. No worker runs. */
import { pino } from "pino";
import type { Ctx } from "@agent-engine/core/context.ts";
import { seedDemo } from "@agent-engine/core/demo/seed-demo.ts";
import type { RateLimits } from "@agent-engine/core/config/rate-limits.ts";
import type { AccountsConfig } from "@agent-engine/core/members/accounts.ts";
import type { ReadyTenant } from "@agent-engine/core/tenancy/set-up-tenant.ts";
import { transact } from "@agent-engine/core/db/transaction.ts";
import { appendInTransaction } from "@agent-engine/core/events/append-in-transaction.ts";
import { openServices, type OpenServices } from "@agent-engine/core/services.ts";
import type { ApiKeyScope } from "@agent-engine/core/members/permissions.ts";
import { createApiKey } from "@agent-engine/core/tenancy/create-api-key.ts";
import type { Audience, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { Conversation, Problem, Submission, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { startFaultProxy, type FaultProxy } from "@agent-engine/testing/fault-proxy.ts";
import { createTestDatabase } from "@agent-engine/testing/postgres.ts";
import { startServer, type RunningServer, type ServerOptions } from "./main.ts";

export const ORIGIN = "https://shop.example";

export interface ServerFixture {
  url: string;
  services: OpenServices;
  server: RunningServer;
  /** The tenant that the tests act as, and one that must see nothing of it. */
  demo: ReadyTenant;
  other: ReadyTenant;
  /** Between the server and Postgres, to break it. */
  proxy: FaultProxy;
  /** The database as its owner sees it, past the proxy and past row level security. */
  ownerUrl: string;
  /** Lines of the log, parsed. */
  logged: Record<string, unknown>[];
  stop(): Promise<void>;
}

export interface FixtureOptions {
  redisUrl?: string;
  /** How people sign in and get mail. */
  accounts?: Partial<AccountsConfig>;
  /** The first signs, all verify. */
  secretKeys?: string[];
  /** The installation's Composio. */
  composio?: ServerOptions["config"]["composio"];
  /** How long a client may take to send a request. */
  receive?: ServerOptions["receive"];
  /** Development's by default. */
  rateLimits?: RateLimits;
}

export async function startServerFixture(options: FixtureOptions = {}): Promise<ServerFixture> {
  const database = await createTestDatabase();
  const logged: Record<string, unknown>[] = [];
  const log = pino({ level: "debug" }, { write: (line) => void logged.push(JSON.parse(line)) });
  const redisUrl = options.redisUrl ?? null;
  const models = {
    openaiApiKey: null,
    openaiBaseUrl: null,
    openaiModel: "m",
    anthropicApiKey: null,
    anthropicModel: "m",
  };
  const databaseUrl = new URL(database.ownerUrl);
  const proxy = await startFaultProxy({ target: { port: Number(databaseUrl.port) } });
  databaseUrl.port = String(proxy.port);
  const { accounts = {}, secretKeys = ["k".repeat(32)] } = options;
  const services = await openServices({ ...accounts, redisUrl, secretKeys, models }, databaseUrl.href, log);
  const demo = await seedDemo(services, { demoOrigins: [ORIGIN, "https://*.wild.example"] });
  const other = await seedDemo(services, { demoOrigins: ["https://other.example"] });
  const server = await startServer({
    services,
    config: {
      nodeEnv: "test",
      redisUrl,
      publicUrl: null,
      trustedProxyHops: 1,
      ...(options.composio ? { composio: options.composio } : {}),
      ...(options.rateLimits ? { rateLimits: options.rateLimits } : {}),
    },
    port: 0,
    ...(options.receive ? { receive: options.receive } : {}),
  });
  return {
    url: server.url,
    services,
    server,
    demo,
    other,
    ownerUrl: database.ownerUrl,
    proxy,
    logged,
    async stop() {
      await server.stop();
      await services.close();
      await proxy.stop();
      await database.drop();
    },
  };
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

export interface Call {
  token?: string;
  body?: unknown;
  headers?: Record<string, string>;
}

/** One request; the answer's body parsed when it is JSON. */
export async function call<T = Problem>(
  fixture: Pick<ServerFixture, "url">,
  method: string,
  path: string,
  { token, body, headers = {} }: Call = {},
): Promise<Answer<T>> {
  const response = await fetch(`${fixture.url}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: (isJson ? JSON.parse(text) : text) as T };
}

/** A new visitor on the demo's site. */
export async function visit(
  fixture: ServerFixture,
  demo: ReadyTenant = fixture.demo,
  origin = ORIGIN,
): Promise<VisitorSession> {
  const { body } = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
    body: { publishableKey: demo.publishableKey },
    headers: { origin },
  });
  return body;
}

export async function converse(fixture: ServerFixture, token: string): Promise<Conversation> {
  return (await call<Conversation>(fixture, "POST", "/v1/conversations", { token, body: {} })).body;
}

let sent = 0;

export async function say(
  fixture: ServerFixture,
  token: string,
  conversationId: string,
  text: string,
): Promise<Submission> {
  const body = { clientMessageId: `client-${++sent}`, text };
  return (await call<Submission>(fixture, "POST", `/v1/conversations/${conversationId}/messages`, { token, body }))
    .body;
}

/** Appends and publishes events as a worker's would be. */
export function append(
  fixture: ServerFixture,
  conversationId: string,
  events: { event: ConversationEvent; audience?: Audience; runId?: string | null }[],
): Promise<StoredEnvelope[]> {
  const { services, demo } = fixture;
  const ctx: Ctx = { services, tenantId: demo.tenantId, actor: { kind: "worker" }, correlationId: "req_test" };
  return transact(ctx, (tx) =>
    appendInTransaction(ctx, tx, {
      conversationId,
      fence: null,
      events: events.map(({ event, audience = "all", runId = null }) => ({
        event,
        audience,
        runId,
        correlationId: "req_test",
      })),
    }),
  );
}

export const delta = (text: string, messageId = "msg_x"): { event: ConversationEvent } => ({
  event: { type: "TEXT_MESSAGE_CONTENT", messageId, delta: text },
});

/** A secret key of the demo tenant with these scopes only. */
export async function scopedKey(fixture: ServerFixture, ...scopes: ApiKeyScope[]): Promise<string> {
  const ctx: Ctx = {
    services: fixture.services,
    tenantId: fixture.demo.tenantId,
    actor: { kind: "worker" },
    correlationId: "req_test",
  };
  return (await createApiKey(ctx, { name: "test", scopes })).key;
}
