/** A service is looked at by its OpenAPI document, installed with a credential, and called. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { OpenapiPreview } from "@agent-engine/core/toolkits/openapi/preview-openapi.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { InstalledToolkit, Tool, ToolTest } from "@agent-engine/protocol/toolkits.ts";
import { startToolServer, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { call, scopedKey, startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let shop: ToolServer;
const document = {
  openapi: "3.0.3",
  info: { title: "Shop", version: "1" },
  servers: [{ url: "/v1" }],
  paths: {
    "/orders/{id}": {
      get: {
        operationId: "getOrder",
        summary: "Finds an order",
        parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
      },
    },
    "/photos": { post: { operationId: "addPhoto", requestBody: { required: true, content: { "image/png": {} } } } },
  },
  components: { securitySchemes: { key: { type: "apiKey", in: "header", name: "X-Key" } } },
};

beforeAll(async () => {
  shop = await startToolServer({ answer: ({ path }) => (path === "/openapi.json" ? document : { order: 7 }) });
  fixture = await startServerFixture();
});
afterAll(async () => {
  await fixture.stop();
  await shop.stop();
});

const act = <T>(method: string, path: string, body?: unknown, token = fixture.demo.secretKey) =>
  call<T>(fixture, method, path, { token, ...(body === undefined ? {} : { body }) });

describe("an OpenAPI document", () => {
  it("is looked at without being installed", async () => {
    const { status, body } = await act<OpenapiPreview>("POST", "/v1/toolkits/openapi/preview", {
      document: { url: `${shop.url}/openapi.json` },
    });
    expect([status, body]).toEqual([
      200,
      {
        title: "Shop",
        baseUrl: `${shop.url}/v1`,
        auth: { type: "apiKey", in: "header", name: "X-Key" },
        operations: [
          { id: "getOrder", method: "GET", path: "/orders/{id}", summary: "Finds an order", effect: "read" },
          {
            id: "addPhoto",
            method: "POST",
            path: "/photos",
            summary: "",
            effect: "write",
            problem: "its body must be image/png; only JSON and simple forms are supported",
          },
        ],
      },
    ]);
    const { body: installed } = await act<Page<InstalledToolkit>>("GET", "/v1/toolkits");
    expect(installed.items).toEqual([]);
  });

  it.each([
    {},
    { document: {} },
    { document: { url: "file:///etc/passwd" } },
    { document: { text: "no" } },
    { document: { json: {} }, more: 1 },
  ])("like %j is refused", async (body) => {
    expect((await act("POST", "/v1/toolkits/openapi/preview", body)).status).toBe(400);
  });

  it("that cannot be had says so, and not that our database is away", async () => {
    const document = { url: "https://nowhere.invalid/openapi.json" };
    const headers = { "idempotency-key": "a-preview" };
    const { status, body } = await call(fixture, "POST", "/v1/toolkits/openapi/preview", {
      token: fixture.demo.secretKey,
      headers,
      body: { document },
    });
    expect([status, body]).toEqual([400, expect.objectContaining({ code: "invalid_request" })]);
    expect(body.detail).toMatch(/^The document cannot be fetched: /);
  });

  it("is looked at by those who may install it", async () => {
    const key = await scopedKey(fixture, "toolkits:read", "agents:write");
    const { status } = await act("POST", "/v1/toolkits/openapi/preview", { document: { json: document } }, key);
    expect(status).toBe(403);
  });

  it("is installed, its credential never shown, and called with it", async () => {
    const settings = {
      document: { url: `${shop.url}/openapi.json` },
      baseUrl: `${shop.url}/v1`,
      auth: { type: "apiKey", in: "header", name: "X-Key", value: "a-key-of-the-shop" },
    };
    const installed = await act<InstalledToolkit>("POST", "/v1/toolkits", { kind: "openapi", name: "shop", settings });
    expect(installed.status).toBe(201);
    expect(installed.body).toMatchObject({ toolCount: 1, problems: [expect.stringContaining("POST /photos")] });
    expect(JSON.stringify(installed.body)).not.toContain("a-key-of-the-shop");
    const { body: tools } = await act<Page<Tool>>("GET", `/v1/tools?toolkitId=${installed.body.id}`);
    const [tool] = tools.items;
    expect(tool).toMatchObject({ name: "shop_getOrder", remote: "GET /orders/{id}", effect: "read" });
    expect(tool).not.toHaveProperty("call");
    const tried = await act<ToolTest>("POST", `/v1/tools/${tool?.id ?? ""}/test`, { arguments: { id: "A-1" } });
    expect(tried.body).toMatchObject({ ok: true, content: '{"order":7}', failure: null });
    expect(shop.ledger.at(-1)).toMatchObject({ path: "/v1/orders/A-1", headers: { "x-key": "a-key-of-the-shop" } });
    // Somewhere else it is not kept.
    const moved = {
      ...settings,
      baseUrl: "https://elsewhere.example",
      auth: (installed.body.settings as { auth: unknown }).auth,
    };
    const refused = await act("PATCH", `/v1/toolkits/${installed.body.id}`, { settings: moved });
    expect(refused.status).toBe(400);
  });
});
