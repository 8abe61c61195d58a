/** What a tenant has of everything that a route can name, and a body for each route that takes one. */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { uuidOf } from "@agent-engine/core/ids.ts";
import type { ReadyTenant } from "@agent-engine/core/tenancy/set-up-tenant.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Submission } from "@agent-engine/protocol/resources.ts";
import { call, converse, say, visit, type ServerFixture } from "./server-fixture.ts";

/** Kinds of things by the name that paths and bodies give them, with the prefix of their ids. */
export const KINDS = {
  conversationId: "conv",
  runId: "run",
  agentId: "agent",
  documentId: "doc",
  memberId: "member",
  apiKeyId: "key",
  siteId: "site",
  visitorId: "visitor",
  providerKeyId: "pkey",
  budgetId: "budget",
  priceId: "price",
  scheduleId: "schedule",
  toolkitId: "toolkit",
  toolId: "tool",
  connectionId: "conn",
  /** Of a budget: here an agent. */
  subjectId: "agent",
  interruptId: "int",
} as const;
export type Kind = keyof typeof KINDS;

/** One of each, all of one tenant. */
export type Belongings = Record<Kind, string>;

/** An id that is well-formed and nobody's. */
export const missing = (kind: Kind): string => `${KINDS[kind]}_0198c0de00007000800000000000cafe`;

/** Settings of a toolkit that nobody has to be asked about. */
export const TOOLKIT = {
  kind: "http",
  settings: {
    baseUrl: "https://tools.example",
    headers: { "x-key": "a-tool-key-1234" },
    operations: [{ name: "look", description: "Looks", method: "GET", path: "/look" }],
  },
};

const inAnHour = (): string => new Date(Date.now() + 3_600_000).toISOString();

/** Bodies that are valid, with ids of `own`; a route with a body that is not here fails the matrix. */
export const BODIES: Record<string, (own: Belongings) => Record<string, unknown>> = {
  "POST /v1/conversations": ({ agentId }) => ({ agentId }),
  "POST /v1/conversations/{conversationId}/messages": () => ({ clientMessageId: randomUUID(), text: "hi" }),
  "POST /v1/conversations/{conversationId}/takeover": () => ({ name: "Ada" }),
  "POST /v1/conversations/{conversationId}/operator-messages": () => ({ text: "I am a person" }),
  "PUT /v1/conversations/{conversationId}/client-tools": () => ({
    pageId: "p",
    tools: [{ name: "t", description: "d" }],
  }),
  "POST /v1/runs": ({ agentId }) => ({ agentId, input: "hi" }),
  "POST /v1/runs/{runId}/resume": ({ interruptId }) => ({ interruptId, decision: "abort" }),
  "POST /v1/runs/{runId}/fork": () => ({ changes: { message: "again" } }),
  "POST /v1/schedules": ({ agentId }) => ({ agentId, at: inAnHour(), input: "later" }),
  "POST /v1/agents": () => ({ name: "An agent" }),
  "POST /v1/agents/{agentId}/mcp": () => ({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
  "PATCH /v1/agents/{agentId}": () => ({ name: "Taken over" }),
  "POST /v1/toolkits": () => ({ ...TOOLKIT, name: `t${randomUUID().slice(0, 8)}` }),
  "PATCH /v1/toolkits/{toolkitId}": () => ({ title: "Taken over" }),
  "POST /v1/toolkits/openapi/preview": () => ({ document: { json: { openapi: "3.1.0", paths: {} } } }),
  "POST /v1/tools/{toolId}/test": ({ connectionId }) => ({ connectionId }),
  "POST /v1/connections/link": ({ runId, interruptId }) => ({ runId, interruptId }),
  "PATCH /v1/connections/{connectionId}": () => ({ label: "Taken over" }),
  "POST /v1/documents": () => ({ title: "A document", text: "Words." }),
  "POST /v1/members": () => ({ email: `${randomUUID()}@example.com`, role: "viewer" }),
  "PATCH /v1/members/{memberId}": () => ({ role: "operator" }),
  "POST /v1/api-keys": () => ({ name: "A key", scopes: ["runs:read"] }),
  "POST /v1/api-keys/{apiKeyId}/rotate": () => ({ overlapSeconds: 0 }),
  "POST /v1/sites": ({ agentId }) => ({ name: "A site", agentId }),
  "PATCH /v1/sites/{siteId}": ({ agentId }) => ({ name: "Taken over", agentId }),
  "POST /v1/sites/{siteId}/rotate": () => ({ overlapSeconds: 0 }),
  "PATCH /v1/sites/{siteId}/identity": () => ({ algorithm: "RS256", jwksUrl: "https://keys.example/jwks.json" }),
  "POST /v1/sites/{siteId}/identity-secret": () => ({ overlapSeconds: 0 }),
  "PATCH /v1/tenant": () => ({ name: "Renamed" }),
  "POST /v1/provider-keys": () => ({ provider: "openai", apiKey: "a-vendor-key" }),
  "POST /v1/budgets": ({ subjectId }) => ({ name: "A budget", subject: "agent", subjectId, period: "day", maxRuns: 1 }),
  "PATCH /v1/budgets/{budgetId}": () => ({ maxRuns: 1_000_000 }),
  "POST /v1/model-prices": () => ({ model: "a-model", input: 1, output: 2 }),
};

/** Routes whose credential is in the body or which are about no tenant, each with the file that proves them. */
export const PROVED_ELSEWHERE: Record<string, string> = {
  "GET /v1/toolkits/catalogue": "what Composio has is nobody's: the same for everybody",
  "GET /v1/toolkits/catalogue/tools": "what Composio has is nobody's: the same for everybody",
  "POST /v1/visitor-sessions": "another site's visitor token, below",
  "POST /v1/invitations/read": "server/src/members.integration.test.ts",
  "POST /v1/invitations/accept": "server/src/members.integration.test.ts",
  "POST /v1/tenants": "server/src/members.integration.test.ts",
  "POST /v1/realtime-tokens": "server/src/realtime-tokens.integration.test.ts",
};

/** Fields of bodies that look like ids and name nothing of ours. */
export const NO_IDS = new Set(["pageId", "clientMessageId", "apiKey"]);

/** Query parameters that name nothing, and those that may name somebody's things. */
export const PLAIN_QUERY = new Set([
  "limit",
  "after",
  "at",
  "state",
  "action",
  "from",
  "to",
  "seq",
  "hash",
  "afterHash",
  "interval",
  "groupBy",
  "search",
  "toolkit",
  "window",
]);
export const NAMING_QUERY = new Set(["cursor", "actor", "target", "externalId", "agentId", "visitorId", "toolkitId"]);

export interface Furnished {
  own: Belongings;
  /** Their visitor's token. */
  visitorToken: string;
  origin: string;
}

const CANARY = "canary-of-the-victim";

/** Gives a tenant two of everything, so that its lists have a second page; the last of each is in `own`. */
export async function furnish(
  fixture: ServerFixture,
  tenant: ReadyTenant,
  origin: string,
  memberId: string,
): Promise<Furnished> {
  const token = tenant.secretKey;
  const make = async <T = { id: string }>(path: string, body: unknown): Promise<T> => {
    const answer = await call<T>(fixture, "POST", path, { token, body });
    if (answer.status >= 300) throw new Error(`POST ${path} answered ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const own: Belongings = { ...(Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, ""])) as Belongings) };
  let visitorToken = "";
  for (let i = 0; i < 2; i++) {
    const visitor = await visit(fixture, tenant, origin);
    visitorToken = visitor.visitorToken;
    own.visitorId = visitor.visitor.id;
    const conversation = await converse(fixture, visitorToken);
    own.conversationId = conversation.id;
    const { run }: Submission = await say(fixture, visitorToken, conversation.id, `${CANARY} said this`);
    own.runId = run.id;
    own.agentId = (await make("/v1/agents", { name: `${CANARY} agent`, instructions: CANARY })).id;
    await make(`/v1/agents/${own.agentId}/publish`, {});
    await make(`/v1/agents/${own.agentId}/publish`, {});
    own.documentId = (await make("/v1/documents", { title: `${CANARY} title`, text: CANARY })).id;
    own.apiKeyId = (await make("/v1/api-keys", { name: `${CANARY} key`, scopes: ["runs:read"] })).id;
    own.siteId = (await make("/v1/sites", { name: `${CANARY} site`, agentId: own.agentId })).id;
    await make(`/v1/sites/${own.siteId}/identity-secret`, {});
    own.providerKeyId = (
      await make("/v1/provider-keys", { provider: "openai", name: `${CANARY} vendor`, apiKey: "vendor-key-1234" })
    ).id;
    own.toolkitId = (await make("/v1/toolkits", { ...TOOLKIT, name: `shop${i}`, title: `${CANARY} toolkit` })).id;
    own.toolId = await toolOf(fixture, token, own.toolkitId);
    own.connectionId = await connect(fixture, tenant.tenantId, own.toolkitId);
    own.subjectId = own.agentId;
    const budget = {
      name: `${CANARY} budget`,
      subject: "agent",
      subjectId: own.agentId,
      period: "day",
      maxRuns: 1_000,
    };
    own.budgetId = (await make("/v1/budgets", budget)).id;
    own.priceId = (await make("/v1/model-prices", { model: `${CANARY} ${i}`, input: 1, output: 2 })).id;
    const schedule = { agentId: own.agentId, at: inAnHour(), input: `${CANARY} plans` };
    own.scheduleId = (await make("/v1/schedules", schedule)).id;
    await asOwner(fixture, (db) =>
      db.query(
        `insert into usage (tenant_id, run_id, step_index, agent_id, visitor_id, model, total_tokens, at)
         values ($1, $2, 0, $3, $4, $5, 10, now() - $6 * interval '1 day')`,
        [tenant.tenantId, own.runId, own.agentId, own.visitorId, CANARY, i].map((each) =>
          typeof each === "string" && each.includes("_") ? uuidOf(each) : each,
        ),
      ),
    );
    await make("/v1/members", { email: `${randomUUID()}@example.com`, role: "viewer" });
  }
  own.memberId = memberId;
  own.interruptId = `int_${randomUUID().replaceAll("-", "")}`;
  const interrupts = [{ id: own.interruptId, reason: "operator", message: CANARY }];
  await asOwner(fixture, (db) =>
    db.query("update runs set status = 'waiting', interrupts = $2 where id = $1", [
      uuidOf(own.runId),
      JSON.stringify(interrupts),
    ]),
  );
  return { own, visitorToken, origin };
}

async function toolOf(fixture: ServerFixture, token: string, toolkitId: string): Promise<string> {
  const { body } = await call<{ items: { id: string }[] }>(fixture, "GET", `/v1/tools?toolkitId=${toolkitId}`, {
    token,
  });
  return body.items[0]?.id ?? "";
}

/** As if somebody had connected an account: whose it is, is all that matters here. */
async function connect(fixture: ServerFixture, tenantId: TenantId, toolkitId: string): Promise<string> {
  const id = fixture.services.newId("conn");
  const values = [id, tenantId, toolkitId].map(uuidOf);
  await asOwner(fixture, (db) =>
    db.query(
      `insert into connections (id, tenant_id, toolkit_id, label, status, created_at, updated_at)
       values ($1, $2, $3, '${CANARY} account', 'active', now(), now())`,
      values,
    ),
  );
  return id;
}

/** True when an answer holds what only the tenant may know. */
export function leaks(text: string, own: Belongings): boolean {
  return text.includes(CANARY) || Object.values(own).some((id) => text.includes(id));
}

export async function asOwner<T>(fixture: ServerFixture, work: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: fixture.ownerUrl });
  await db.connect();
  try {
    return await work(db);
  } finally {
    await db.end();
  }
}

/** A fingerprint of every row of a tenant, by table. */
export function everythingOf(fixture: ServerFixture, tenantId: TenantId): Promise<Record<string, string>> {
  return asOwner(fixture, async (db) => {
    const { rows: tables } = await db.query<{ name: string; key: string }>(`
      select c.relname as name, a.attname as key from pg_class c join pg_attribute a on a.attrelid = c.oid
        and a.attname = case c.relname when 'tenants' then 'id' else 'tenant_id' end
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition`);
    const all: Record<string, string> = {};
    for (const { name, key } of tables) {
      const { rows } = await db.query<{ print: string }>(
        `select count(*) || ' ' || coalesce(md5(string_agg(t::text, '|' order by t::text)), '') as print
         from "${name}" t where t."${key}" = $1`,
        [uuidOf(tenantId)],
      );
      all[name] = rows[0]?.print ?? "";
    }
    return all;
  });
}
