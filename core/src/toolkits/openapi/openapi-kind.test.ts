import { createServer, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { closeServer, listen } from "@agent-engine/testing/listening.ts";
import { createEgress } from "../../net/egress.ts";
import type { DiscoveredTool } from "../toolkit-kind.ts";
import type { ToolRequest } from "../toolkit.ts";
import { openapiKind } from "./openapi-kind.ts";

const egress = createEgress({ allowLoopback: true });
const log = { warn: () => {}, error: () => {}, info: () => {} };
let time = 1_000_000;
const deps = { egress, composio: null, now: () => time, log };
let server: ToolServer;
/** What the service answers next instead of its usual answer. */
let answer: ((headers: IncomingMessage["headers"]) => unknown) | null = null;
beforeAll(async () => {
  server = await startToolServer({ answer: ({ headers }) => answer?.(headers) });
});
beforeEach(() => {
  server.ledger.splice(0);
  answer = null;
});
afterAll(async () => {
  await server.stop();
  await egress.close();
});

const query = (name: string, more: Record<string, unknown> = {}) => ({
  name,
  in: "query",
  schema: { type: "string" },
  ...more,
});
const list = { type: "array", items: { type: "string" } };
const json = (schema: unknown) => ({ content: { "application/json": { schema } } });
const ok = { 200: { description: "ok" } };

const shop = {
  openapi: "3.0.3",
  info: { title: "Shop", version: "1" },
  servers: [{ url: "https://{region}.shop.example/v1/", variables: { region: { default: "eu" } } }],
  paths: {
    "/orders/{id}": {
      parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
      get: {
        operationId: "getOrder",
        summary: "Finds an order.",
        parameters: [
          query("tags", { schema: list }),
          query("fields", { schema: list, explode: false }),
          query("filter", {
            schema: { type: "object", properties: { state: { type: "string" } } },
            style: "deepObject",
          }),
          query("page[size]", { schema: { type: "integer" } }),
          query("where", { schema: undefined, content: { "application/json": { schema: { type: "object" } } } }),
          { name: "X-Version", in: "header", schema: { type: "string" } },
          { name: "Authorization", in: "header", required: true, schema: { type: "string" } },
        ],
        responses: ok,
      },
      put: {
        operationId: "order.change",
        requestBody: { required: true, ...json({ $ref: "#/components/schemas/Change" }) },
        responses: ok,
      },
      patch: { requestBody: json({ type: "object", properties: { id: { type: "string" } } }), responses: ok },
      delete: { operationId: "order/change", responses: ok },
    },
    "/tokens": {
      post: {
        operationId: "makeToken",
        description: "Makes one.",
        parameters: [{ name: "Idempotency-Key", in: "header", required: true, schema: { type: "string" } }],
        requestBody: {
          required: true,
          content: {
            "application/x-www-form-urlencoded": {
              schema: {
                type: "object",
                required: ["card"],
                properties: {
                  card: { type: "object", properties: { number: { type: "string" } } },
                  expand: list,
                  tags: list,
                },
              },
              encoding: { expand: { style: "deepObject" } },
            },
          },
        },
        responses: ok,
      },
    },
    "/batch": {
      post: {
        operationId: "batch",
        requestBody: { required: true, ...json({ type: "array", items: {} }) },
        responses: ok,
      },
    },
    "/upload": {
      post: { operationId: "upload", requestBody: { required: true, content: { "image/png": {} } }, responses: ok },
    },
  },
  components: {
    schemas: {
      Change: {
        type: "object",
        required: ["state", "id_of_carrier"],
        properties: { state: { type: "string", nullable: true }, id_of_carrier: { type: "string", readOnly: true } },
      },
    },
    securitySchemes: { key: { type: "http", scheme: "bearer" } },
  },
};

function parse(settings: Record<string, unknown>) {
  const parsed = openapiKind.parse({ document: { json: shop }, baseUrl: `${server.url}/api/`, ...settings });
  if (!parsed.settings) throw new Error(parsed.problems.join("; "));
  return parsed.settings;
}

const discover = (settings: Record<string, unknown> = {}) =>
  openapiKind.discover("shop", parse(settings), deps, new AbortController().signal);

async function open(settings: Record<string, unknown> = {}) {
  const { tools } = await discover(settings);
  // As Postgres keeps them.
  return openapiKind.open("shop", parse(settings), JSON.parse(JSON.stringify(tools)) as DiscoveredTool[], deps);
}

function request(args: Record<string, unknown>): ToolRequest {
  return {
    idempotencyKey: "key-1",
    arguments: args,
    connection: null,
    signal: new AbortController().signal,
    deadline: Date.now() + 10_000,
    context: { tenantId: "t", agentId: "a", conversationId: "c", runId: "r", visitorId: null, correlationId: "x" },
  };
}

describe("an OpenAPI document's operations", () => {
  it("become tools, with the effect of their methods, or are left out for a reason", async () => {
    const { tools, problems } = await discover();
    expect(tools.map(({ name, remote, effect, description }) => [name, remote, effect, description])).toEqual([
      ["shop_getOrder", "GET /orders/{id}", "read", "Finds an order."],
      ["shop_order_change", "PUT /orders/{id}", "idempotent", "PUT /orders/{id}"],
      ["shop_patch_orders_id", "PATCH /orders/{id}", "write", "PATCH /orders/{id}"],
      ["shop_order_change_2", "DELETE /orders/{id}", "idempotent", "DELETE /orders/{id}"],
      ["shop_makeToken", "POST /tokens", "write", "Makes one."],
      ["shop_batch", "POST /batch", "write", "POST /batch"],
    ]);
    expect(problems).toEqual([
      "POST /upload was left out: its body must be image/png; only JSON and simple forms are supported.",
    ]);
  });

  it("take their arguments from path, query, headers and body", async () => {
    const { tools } = await discover();
    const parameters = Object.fromEntries(tools.map((tool) => [tool.name, tool.parameters]));
    const names = (name: string) => Object.keys(parameters[name]?.properties ?? {});
    expect(names("shop_getOrder")).toEqual(["id", "tags", "fields", "filter", "page_size", "where", "X-Version"]);
    expect(parameters["shop_order_change"]).toEqual({
      type: "object",
      properties: { id: { type: "string" }, state: { type: ["string", "null"] } },
      required: ["id", "state"],
      additionalProperties: false,
    });
    expect(names("shop_patch_orders_id")).toEqual(["id", "body"]);
    expect(names("shop_makeToken")).toEqual(["card", "expand", "tags"]);
    expect(parameters["shop_batch"]).toMatchObject({ properties: { body: { type: "array" } }, required: ["body"] });
  });

  it("are chosen by id or by method and path", async () => {
    const { tools, problems } = await discover({ operations: ["batch", "get /orders/{id}", "nothing"] });
    expect(tools.map(({ remote }) => remote)).toEqual(["POST /batch", "GET /orders/{id}"]);
    expect(problems).toEqual(['There is no operation "nothing" in the document.']);
  });

  it("are the first hundred of many, with a word about it", async () => {
    const paths = Object.fromEntries(
      Array.from({ length: 130 }, (_, index) => [`/p${index}`, { get: { responses: ok } }]),
    );
    const { tools, problems } = await discover({ document: { json: { ...shop, paths } } });
    expect(tools).toHaveLength(100);
    expect(problems).toEqual([expect.stringContaining("130 operations")]);
  });

  it("go to the document's server unless the settings name another", async () => {
    const settings = openapiKind.parse({ document: { json: shop } }).settings;
    if (!settings) throw new Error("not parsed");
    const { tools } = await openapiKind.discover("shop", settings, deps, new AbortController().signal);
    expect(openapiKind.open("shop", settings, tools, deps).host).toBe("eu.shop.example");
    const without = { ...settings, document: { json: { ...shop, servers: [{ url: "/v1" }] } } };
    await expect(openapiKind.discover("shop", without, deps, new AbortController().signal)).rejects.toThrow("baseUrl");
  });
});

describe("calls of an OpenAPI toolkit", () => {
  it("put each argument where the document says", async () => {
    const tools = await open();
    await tools.execute(
      "shop_getOrder",
      request({
        id: "a/b",
        tags: ["x", "y"],
        fields: ["p", "q"],
        filter: { state: "open" },
        page_size: 5,
        where: { a: 1 },
        "X-Version": "2",
      }),
    );
    const [call] = server.ledger;
    const url = new URL(call?.path ?? "", "http://x");
    expect(url.pathname).toBe("/api/orders/a%2Fb");
    expect([...url.searchParams]).toEqual([
      ["tags", "x"],
      ["tags", "y"],
      ["fields", "p,q"],
      ["filter[state]", "open"],
      ["page[size]", "5"],
      ["where", '{"a":1}'],
    ]);
    expect(call).toMatchObject({ key: null, headers: { "x-version": "2" } });
  });

  it("send bodies as JSON and as forms, with the key of the call", async () => {
    const tools = await open();
    await tools.execute("shop_order_change", request({ id: "7", state: "sent" }));
    await tools.execute("shop_batch", request({ body: [1, 2] }));
    expect(server.ledger).toMatchObject([
      { method: "PUT", path: "/api/orders/7", key: "key-1", body: { state: "sent" } },
      { method: "POST", body: [1, 2] },
    ]);
    const received = await formOf(tools.execute.bind(tools), {
      card: { number: "42" },
      expand: ["a"],
      tags: ["b", "c"],
    });
    expect(received).toEqual([
      ["card[number]", "42"],
      ["expand[0]", "a"],
      ["tags", "b"],
      ["tags", "c"],
    ]);
  });

  /** The ledger reads JSON only. */
  async function formOf(_: unknown, args: Record<string, unknown>) {
    let body = "";
    const own = createServer((incoming, response) => {
      incoming.setEncoding("utf8");
      incoming.on("data", (chunk: string) => (body += chunk));
      incoming.on("end", () => response.end("{}"));
    });
    const port = await listen(own, 0);
    try {
      const tools = await open({ baseUrl: `http://127.0.0.1:${port}`, idempotencyHeader: "X-Key" });
      await tools.execute("shop_makeToken", request(args));
    } finally {
      await closeServer(own);
    }
    return [...new URLSearchParams(body)];
  }

  it.each([".", "..", ""])("do not let an argument leave the path: %o", async (id) => {
    expect(await (await open()).execute("shop_getOrder", request({ id }))).toMatchObject({ isError: true });
    expect(server.ledger).toEqual([]);
  });

  it("do not let an argument add headers", async () => {
    const args = { id: "1", "X-Version": "1\r\nx-admin: yes" };
    expect(await (await open()).execute("shop_getOrder", request(args))).toMatchObject({ isError: true });
    expect(server.ledger).toEqual([]);
  });

  it.each([
    [{ type: "none" }, {}],
    [{ type: "bearer", token: "secret-token" }, { authorization: "Bearer secret-token" }],
    [
      { type: "basic", username: "me", password: "secret-password" },
      { authorization: "Basic bWU6c2VjcmV0LXBhc3N3b3Jk" },
    ],
    [{ type: "apiKey", in: "header", name: "X-Api-Key", value: "secret-value" }, { "x-api-key": "secret-value" }],
    [{ type: "apiKey", in: "cookie", name: "sid", value: "secret-value" }, { cookie: "sid=secret-value" }],
  ])("carry the credential of %j, and never show it", async (auth, headers) => {
    answer = (received) => ({ said: received });
    const tools = await open({ auth });
    const { content } = await tools.execute("shop_getOrder", request({ id: "1" }));
    expect(server.ledger[0]?.headers).toMatchObject(headers);
    expect(JSON.stringify(content)).not.toMatch(/secret-|bWU6/);
  });

  it("carry a key in the query, whatever the arguments say", async () => {
    const auth = { type: "apiKey", in: "query", name: "tags", value: "secret-value" };
    const { content } = await (await open({ auth })).execute("shop_getOrder", request({ id: "1" }));
    expect(server.ledger[0]?.path).toBe("/api/orders/1?tags=secret-value");
    expect(JSON.stringify(content)).not.toContain("secret-value");
  });

  it("say what became of them by the table of failures", async () => {
    const tools = await open();
    server.enqueueFaults({ kind: "error", when: "before", status: 500 });
    const failed = await tools.execute("shop_batch", request({ body: [] })).catch((error: unknown) => error);
    expect(tools.classifyFailure(failed)).toMatchObject({ kind: "unknown_outcome", code: "server_error" });
    expect(await tools.execute("shop_nothing", request({}))).toMatchObject({ isError: true });
  });
});

describe("secrets of an OpenAPI toolkit", () => {
  const base = { document: { url: "https://a.example/o.json" }, baseUrl: "https://api.example/v1" };

  it.each([
    [{ type: "bearer", token: "s" }, "auth token https://api.example"],
    [{ type: "basic", username: "u", password: "s" }, "auth password https://api.example"],
    [{ type: "apiKey", in: "header", name: "X-Key", value: "s" }, "auth header x-key https://api.example"],
    [
      { type: "oauth2_client_credentials", tokenUrl: "https://id.example/t", clientId: "i", clientSecret: "s" },
      "auth clientSecret https://id.example https://api.example",
    ],
  ])("of %j are bound to where they go", (auth, field) => {
    const seen: unknown[] = [];
    const mapped = openapiKind.mapSecrets({ ...base, auth }, (value, name) => {
      seen.push([value, name]);
      return "*";
    });
    expect(seen).toEqual([["s", field]]);
    expect(JSON.stringify(mapped)).not.toContain('"s"');
  });

  it("need an address that the tenant wrote", () => {
    const auth = { type: "bearer", token: "s" };
    expect(openapiKind.parse({ document: base.document, auth }).problems).toEqual([expect.stringContaining("baseUrl")]);
    expect(openapiKind.parse({ ...base, auth }).problems).toBeNull();
  });

  it.each([
    null,
    7,
    {},
    { auth: "x" },
    { auth: { type: "bearer" } },
    { document: { url: "file:///etc/passwd" } },
    { ...base, auth: { type: "x" } },
  ])("and settings like %j are refused without a throw", (settings) => {
    expect(openapiKind.parse(settings).problems?.length).toBeGreaterThan(0);
    if (settings && typeof settings === "object") {
      expect(openapiKind.mapSecrets({ ...settings }, () => "*")).toBeTypeOf("object");
    }
  });
});
