/**
 * Canaries: every secret of an installation and of a tenant is used through whole runs, by services that quote whatever
 * they are sent, in answers and in failures. Afterwards the database, the log, the events and the answers of the API
 * are searched for them.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { say } from "@agent-engine/testing/model-directive.ts";
import { startModelServer, type ModelServer } from "@agent-engine/testing/model-server.ts";
import { createTestDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import { startProcess, type RunningProcess } from "@agent-engine/testing/processes.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import type { ProviderKey } from "@agent-engine/protocol/provider-keys.ts";
import type { Agent, Page, Run, Submission } from "@agent-engine/protocol/resources.ts";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { apiAt, getRun, type Api } from "./api-client.ts";

const CANARIES = {
  masterKey: "canary-master-key-5b0e7c92-long-enough",
  installationKey: "canary-installation-2f6a1d",
  tenantKey: "canary-tenant-model-key-8e13",
  header: "canary-header-c7d0f4",
  password: 'canary-password-"quoted"-71b3',
};
const BASIC = `Basic ${Buffer.from(`shop:${CANARIES.password}`).toString("base64")}`;
const BEARER = `Bearer ${CANARIES.header}`;

let dataDir: string;
let database: TestDatabase;
let model: ModelServer;
let vendor: Quoting;
let shop: Quoting;
let product: RunningProcess;
let staff: Api;
let secretKey: string;
let agentId: string;

interface Quoting {
  url: string;
  /** What was sent as credentials, in order. */
  seen: Record<string, string | undefined>[];
  stop(): Promise<void>;
}

/** A service that shows what it was sent to whoever asks. */
async function startQuoting(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Quoting> {
  const seen: Quoting["seen"] = [];
  const server: Server = createServer((request, response) => {
    const { authorization, "x-shop-key": key } = request.headers;
    seen.push({ path: request.url, authorization, key: Array.isArray(key) ? key[0] : key });
    answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    seen,
    stop: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

let vendorRefuses = false;

/** In front of the fake model: refuses a key as vendors do, by quoting it. */
function answerAsVendor(request: IncomingMessage, response: ServerResponse): void {
  if (vendorRefuses) {
    const message = `Incorrect API key provided: ${request.headers.authorization}. You sent ${JSON.stringify(request.headers)}`;
    response.writeHead(401, { "content-type": "application/json" });
    response.end(JSON.stringify({ error: { message, type: "invalid_request_error", code: "invalid_api_key" } }));
    return;
  }
  void (async () => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const answer = await fetch(`${model.url}${request.url?.replace(/^\/v1/, "")}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.concat(chunks).toString(),
    });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
    response.end(await answer.text());
  })();
}

/** Every status a tool may meet, each with everything that was sent. */
function answerAsShop(request: IncomingMessage, response: ServerResponse): void {
  const status = Number(/\/(\d{3})$/.exec(request.url ?? "")?.[1] ?? 200);
  const { authorization = "" } = request.headers;
  const pair = Buffer.from(authorization.replace(/^Basic /, ""), "base64").toString("utf8");
  const password = authorization.startsWith("Basic ") ? pair.slice(pair.indexOf(":") + 1) : "none";
  const quoted = { headers: request.headers, password, url: `https://shop:${encodeURIComponent(password)}@x.example` };
  const isJson = request.url?.startsWith("/json") ?? false;
  response.writeHead(status, { "content-type": isJson ? "application/json" : "text/html", "x-request-id": "req-1" });
  response.end(isJson ? JSON.stringify(quoted) : `<pre>${authorization} ${password} ${JSON.stringify(quoted)}</pre>`);
}

beforeAll(async () => {
  dataDir = mkdtempSync(join(tmpdir(), "agent-engine-test-secrets-"));
  database = await createTestDatabase();
  model = await startModelServer({ text: "All done." });
  vendor = await startQuoting(answerAsVendor);
  shop = await startQuoting(answerAsShop);
  product = startProcess({
    name: "npm start",
    args: ["scripts/start.ts"],
    env: {
      DATABASE_URL: database.ownerUrl,
      DATA_DIR: dataDir,
      SECRET_KEY: CANARIES.masterKey,
      OPENAI_API_KEY: CANARIES.installationKey,
      OPENAI_BASE_URL: `${vendor.url}/v1`,
      LOG_LEVEL: "trace",
      PORT: "0",
      DEMO_PORT: "0",
    },
  });
  await product.waitForOutput(/Ctrl-C stops everything/);
  const keys = JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as { apiUrl: string; secretKey: string };
  ({ secretKey } = keys);
  staff = apiAt(keys.apiUrl, keys.secretKey);
  const operation = (name: string, method: string, path: string) => ({
    name,
    description: `Does ${name}`,
    method,
    path,
    showArguments: true,
    showResults: true,
    parameters: { type: "object", properties: {} },
  });
  const toolkit = (name: string, authorization: string) => ({
    toolkit: "http",
    settings: {
      name,
      baseUrl: shop.url,
      timeoutMs: 5_000,
      headers: { Authorization: authorization, "X-Shop-Key": `${CANARIES.header}-key` },
      operations: [
        operation("json", "GET", "/json/200"),
        operation("page", "GET", "/page/200"),
        operation("refused", "GET", "/json/403"),
        operation("broken", "POST", "/page/500"),
      ],
    },
  });
  const agent = await staff.request<Agent>("POST", "/v1/agents", {
    name: "Shop assistant",
    knowledge: { enabled: false },
    toolkits: [toolkit("bearer", BEARER), toolkit("basic", BASIC)],
  });
  agentId = agent.id;
  await staff.request("POST", `/v1/agents/${agentId}/publish`);
});

afterAll(async () => {
  await product?.stop();
  await Promise.all([vendor?.stop(), shop?.stop(), model?.stop()]);
  await database?.drop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function run(tool: string | null): Promise<Run> {
  const steps = tool === null ? [] : [{ kind: "toolCall" as const, name: tool, arguments: {} }];
  const input = tool === null ? "Hello" : say("Please", { steps });
  const { run } = await staff.request<Submission>("POST", "/v1/runs", { agentId, input });
  return waitFor(
    async () => {
      const now = await getRun(staff, run.id);
      return now.status === "queued" || now.status === "running" ? null : now;
    },
    { describe: `the run with ${tool} to settle`, timeoutMs: 30_000 },
  );
}

const authorizations = () => new Set(vendor.seen.splice(0).map(({ authorization }) => authorization));

/** Everything the database holds, as text; bytes as hex. */
async function dump(): Promise<Map<string, string>> {
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  try {
    const { rows } = await owner.query<{ table: string }>(
      `select format('%I.%I', n.nspname, c.relname) as table from pg_class c join pg_namespace n on n.oid = c.relnamespace
       where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')`,
    );
    const found = new Map<string, string>();
    for (const { table } of rows) {
      const { rows: content } = await owner.query<{ row: string }>(`select t::text as row from ${table} t`);
      found.set(table, content.map(({ row }) => row).join("\n"));
    }
    return found;
  } finally {
    await owner.end();
  }
}

/** The ways in which a secret might be spelled. */
function spellings(secret: string): string[] {
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
    Buffer.from(secret).toString("base64").replace(/=+$/, ""),
    Buffer.from(secret).toString("hex"),
  ];
}

test("no secret is found anywhere after it was used in whole runs, by services that quote it", async () => {
  // The installation's key, then the tenant's own.
  expect((await run("bearer_json")).status).toBe("completed");
  expect(authorizations()).toEqual(new Set([`Bearer ${CANARIES.installationKey}`]));
  const body = { provider: "openai", apiKey: CANARIES.tenantKey };
  const key = await staff.request<ProviderKey>("POST", "/v1/provider-keys", body, { "idempotency-key": "once" });
  expect(key.last4).toBe("8e13");
  expect((await run("basic_json")).status).toBe("completed");
  expect(authorizations()).toEqual(new Set([`Bearer ${CANARIES.tenantKey}`]));

  for (const tool of ["bearer_page", "basic_page", "bearer_refused", "basic_refused"]) {
    expect([tool, (await run(tool)).status]).toEqual([tool, "completed"]);
  }
  const waiting = [await run("bearer_broken"), await run("basic_broken")];
  for (const { status, interrupts } of waiting) {
    expect([status, interrupts[0]?.reason]).toEqual(["waiting", "operator"]);
    expect(JSON.stringify(interrupts)).toContain("[redacted]");
  }
  expect(shop.seen.map(({ authorization }) => authorization)).toEqual(expect.arrayContaining([BEARER, BASIC]));
  expect(shop.seen.every(({ key }) => key === `${CANARIES.header}-key`)).toBe(true);

  vendorRefuses = true;
  const refused = await run(null);
  expect(["waiting", "failed"]).toContain(refused.status);
  expect(JSON.stringify([refused.interrupts, refused.error])).toContain("[redacted]");
  vendorRefuses = false;

  // Failures at the API itself, with secrets in them.
  for (const bad of [
    { provider: "anthropic", apiKey: CANARIES.tenantKey, baseUrl: "https://models.example" },
    { provider: "nobody", apiKey: CANARIES.tenantKey },
    { provider: "openai", apiKey: CANARIES.tenantKey, extra: CANARIES.header },
  ]) {
    await expect(staff.request("POST", "/v1/provider-keys", bad)).rejects.toThrow(/400/);
  }

  const agents = await staff.request<Agent>("GET", `/v1/agents/${agentId}`);
  expect(agents.draft.toolkits[0]?.settings.headers).toEqual({
    Authorization: `••••${BEARER.slice(-4)}`,
    "X-Shop-Key": "••••-key",
  });

  const answers = new Map<string, string>();
  const look = async (path: string, accept?: string) => {
    answers.set(path, JSON.stringify(await staff.request<unknown>("GET", path, undefined, accept ? { accept } : {})));
  };
  const { items: runs } = await staff.request<Page<Run>>("GET", "/v1/runs?limit=100");
  for (const { id, conversationId } of runs) {
    await look(`/v1/runs/${id}`);
    await look(`/v1/runs/${id}/events?limit=1000`);
    await look(`/v1/conversations/${conversationId}/state`);
  }
  for (const path of ["/v1/agents", `/v1/agents/${agentId}/versions`, "/v1/provider-keys", "/v1/audit-log?limit=100"]) {
    await look(path);
  }
  const lines = { authorization: `Bearer ${staff.token}`, accept: "application/jsonl" };
  const { apiUrl } = JSON.parse(readFileSync(join(dataDir, "dev.json"), "utf8")) as { apiUrl: string };
  answers.set("export", await (await fetch(`${apiUrl}/v1/audit-log`, { headers: lines })).text());

  await product.stop();
  const database = await dump();
  expect(database.get("public.secrets")?.split("\n").length).toBeGreaterThanOrEqual(5);
  const places = new Map([...database, ...answers]);
  places.set("the log", readFileSync(join(dataDir, "log.jsonl"), "utf8"));
  places.set("the output", product.logs());
  expect(places.get("the log")?.length).toBeGreaterThan(5_000);

  const secrets = { ...CANARIES, basic: BASIC.slice("Basic ".length), secretKey };
  const found = Object.entries(secrets).flatMap(([name, secret]) =>
    [...places].flatMap(([place, text]) =>
      // The output of a developer's start shows the demo's key; that is what it is for.
      spellings(secret).some((spelled) => text.includes(spelled)) && !(name === "secretKey" && place === "the output")
        ? [`${name} in ${place}`]
        : [],
    ),
  );
  expect(found).toEqual([]);
});

test("the search finds what is there", async () => {
  expect(spellings("a canary").every((spelled) => spelled.length > 0)).toBe(true);
  const all = [...(await dump()).values()].join("\n");
  expect(all).toContain(agentId.slice("agent_".length).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-"));
  expect(all).toContain("[redacted]");
});
