import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createServer, type Server } from "node:http";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { closeServer, listen } from "@agent-engine/testing/listening.ts";
import { createEgress, type Egress } from "../../net/egress.ts";
import type { ToolRequest } from "../toolkit.ts";
import { openapiKind } from "./openapi-kind.ts";

const log = { warn: () => {}, error: () => {}, info: () => {} };
let egress: Egress;
let service: ToolServer;
let issuer: Server;
let tokenUrl: string;
/** Tokens given out, and what was asked. */
let issued: string[];
let asked: { authorization: string | undefined; form: Record<string, string> }[];
let issue: (number: number) => { status: number; body: unknown };
let now: number;

beforeAll(async () => {
  service = await startToolServer();
  issuer = createServer((incoming, response) => {
    let body = "";
    incoming.setEncoding("utf8");
    incoming.on("data", (chunk: string) => (body += chunk));
    incoming.on("end", () => {
      asked.push({
        authorization: incoming.headers.authorization,
        form: Object.fromEntries(new URLSearchParams(body)),
      });
      const answer = issue(asked.length);
      const token = (answer.body as { access_token?: string } | null)?.access_token;
      if (token !== undefined) issued.push(token);
      response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
    });
  });
  tokenUrl = `http://127.0.0.1:${await listen(issuer, 0)}/token`;
});
beforeEach(() => {
  service.ledger.splice(0);
  issued = [];
  asked = [];
  now = 1_000_000;
  // What one process knows ends with its egress.
  egress = createEgress({ allowLoopback: true });
  issue = (number) => ({ status: 200, body: { access_token: `access-token-${number}`, expires_in: 3_600 } });
});
afterAll(async () => {
  await service.stop();
  await closeServer(issuer);
});

const document = {
  openapi: "3.1.0",
  paths: { "/things": { get: { operationId: "list" }, post: { operationId: "make" } } },
};

async function toolkit(auth: Record<string, unknown> = {}) {
  const parsed = openapiKind.parse({
    document: { json: document },
    baseUrl: service.url,
    auth: {
      type: "oauth2_client_credentials",
      tokenUrl,
      clientId: "client 1",
      clientSecret: "client-secret",
      scope: "a b",
      ...auth,
    },
  });
  if (!parsed.settings) throw new Error(parsed.problems.join("; "));
  const deps = { egress, composio: null, now: () => now, log };
  const { tools } = await openapiKind.discover("x", parsed.settings, deps, new AbortController().signal);
  return openapiKind.open("x", parsed.settings, tools, deps);
}

const request = (): ToolRequest => ({
  idempotencyKey: "key-1",
  arguments: {},
  connection: null,
  signal: new AbortController().signal,
  deadline: Date.now() + 10_000,
  context: { tenantId: "t", agentId: "a", conversationId: "c", runId: "r", visitorId: null, correlationId: "x" },
});

const sentTokens = () => service.ledger.map(({ headers }) => headers.authorization);

describe("access tokens by client credentials", () => {
  it("are asked for once for many calls and toolkits, and again when they are about to expire", async () => {
    const [one, other] = [await toolkit(), await toolkit()];
    await Promise.all([
      one.execute("x_list", request()),
      other.execute("x_list", request()),
      one.execute("x_make", request()),
    ]);
    expect(asked).toEqual([
      {
        authorization: `Basic ${Buffer.from("client%201:client-secret").toString("base64")}`,
        form: { grant_type: "client_credentials", scope: "a b" },
      },
    ]);
    expect(new Set(sentTokens())).toEqual(new Set(["Bearer access-token-1"]));
    now += 3_600_000 - 31_000;
    await one.execute("x_list", request());
    expect(asked).toHaveLength(1);
    now += 2_000;
    await one.execute("x_list", request());
    expect(sentTokens().at(-1)).toBe("Bearer access-token-2");
  });

  it("go into the body where the server wants that", async () => {
    await (await toolkit({ clientAuth: "body", audience: "api" })).execute("x_list", request());
    expect(asked[0]).toEqual({
      authorization: undefined,
      form: {
        grant_type: "client_credentials",
        scope: "a b",
        audience: "api",
        client_id: "client 1",
        client_secret: "client-secret",
      },
    });
  });

  it("are renewed once when the service refuses one, also for a write", async () => {
    const tools = await toolkit();
    service.enqueueFaults({ kind: "error", when: "before", status: 401 });
    expect(await tools.execute("x_make", request())).toMatchObject({ content: { ok: true } });
    expect(sentTokens()).toEqual(["Bearer access-token-1", "Bearer access-token-2"]);
    expect(service.ledger.map(({ key }) => key)).toEqual(["key-1", "key-1"]);
    const refused = { kind: "error", when: "before", status: 401 } as const;
    service.enqueueFaults(refused, refused);
    expect(await tools.execute("x_make", request())).toMatchObject({ isError: true, content: { status: 401 } });
    expect(service.ledger).toHaveLength(4);
  });

  it("are never shown", async () => {
    const tools = await toolkit();
    service.enqueueFaults({
      kind: "error",
      when: "before",
      status: 400,
      body: { told: "access-token-1 client-secret" },
    });
    const answer = await tools.execute("x_list", request());
    expect(JSON.stringify(answer)).not.toMatch(/access-token-1|client-secret/);
    service.enqueueFaults({ kind: "error", when: "before", status: 500, body: { told: "access-token-1" } });
    const failure = tools.classifyFailure(await tools.execute("x_list", request()).catch((error: unknown) => error));
    expect(failure.detail).not.toContain("access-token-1");
  });

  it("that cannot be had: nothing is sent, and the failure says whether it can work later", async () => {
    const tools = await toolkit();
    const fails = async (status: number, body: unknown) => {
      issue = () => ({ status, body });
      const error = await tools.execute("x_make", request()).catch((thrown: unknown) => thrown);
      return tools.classifyFailure(error);
    };
    expect(await fails(401, { error: "invalid_client client-secret" })).toMatchObject({
      kind: "needs_person",
      code: "connection_expired",
      detail: expect.not.stringContaining("client-secret") as string,
    });
    const later = { kind: "transient", code: "connection_unreadable", notSent: true };
    expect(await fails(503, {})).toMatchObject(later);
    expect(await fails(200, { access_token: "with\nline" })).toMatchObject(later);
    expect(service.ledger).toEqual([]);
    // And it is asked for anew once it can be had.
    issue = () => ({ status: 200, body: { access_token: "at-last" } });
    await tools.execute("x_make", request());
    expect(sentTokens()).toEqual(["Bearer at-last"]);
  });

  it("are asked for only where requests may go", async () => {
    egress = createEgress({ allowLoopback: false });
    const tools = await toolkit({ tokenUrl: "http://169.254.169.254/token" });
    const error = await tools.execute("x_make", request()).catch((thrown: unknown) => thrown);
    expect(tools.classifyFailure(error)).toMatchObject({ kind: "needs_person" });
  });
});
