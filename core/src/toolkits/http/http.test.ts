import { createServer } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseHttpSettings, type HttpOperation } from "./http-settings.ts";
import type { ToolRequest } from "../toolkit.ts";
import { startToolServer, type ToolFault, type ToolServer } from "@agent-engine/testing/tool-server.ts";
import { createEgress } from "../../net/egress.ts";
import { httpToolkit } from "./http.ts";

const egress = createEgress({ allowLoopback: true });
let server: ToolServer;
beforeAll(async () => {
  server = await startToolServer();
});
beforeEach(() => server.ledger.splice(0));
afterAll(async () => {
  await server.stop();
  await egress.close();
});

const object = (...names: string[]) => ({
  type: "object",
  properties: Object.fromEntries(names.map((name) => [name, { type: "string" }])),
});
const operations = [
  { name: "find", description: "Finds", method: "GET", path: "/orders/{id}", parameters: object("id", "fields") },
  { name: "put", description: "Sets", method: "PUT", path: "/orders/{id}", parameters: object("id", "note") },
  { name: "send", description: "Sends", method: "POST", path: "/mail", parameters: object("to") },
];
const context = {
  tenantId: "tenant_1",
  agentId: "agent_1",
  conversationId: "conv_1",
  runId: "run_1",
  visitorId: null,
  correlationId: "c",
};

function toolkit(changes: Record<string, unknown> = {}) {
  const parsed = parseHttpSettings({
    name: "shop",
    baseUrl: `${server.url}/api/`,
    operations,
    timeoutMs: 300,
    ...changes,
  });
  if (!parsed.settings) throw new Error(parsed.problems.join("; "));
  return httpToolkit(parsed.settings, egress);
}

function request(args: Record<string, unknown>): ToolRequest {
  return {
    idempotencyKey: "key-1",
    arguments: args,
    connection: null,
    signal: new AbortController().signal,
    deadline: Date.now() + 10_000,
    context,
  };
}

async function failureOf(name: string, fault: ToolFault) {
  server.enqueueFaults(fault);
  const tools = toolkit();
  try {
    return { answer: await tools.execute(name, request({ id: "1" })) };
  } catch (error) {
    return tools.classifyFailure(error);
  }
}

describe("an HTTP toolkit", () => {
  it("describes its operations, each with the effect of its method unless it says otherwise", async () => {
    const extra: Partial<HttpOperation>[] = [
      { name: "search", description: "S", method: "POST", path: "/search", effect: "read" },
      { name: "drop", description: "D", method: "DELETE", path: "/it" },
      { name: "change", description: "C", method: "PATCH", path: "/it", showResults: true },
    ];
    const tools = await toolkit({ operations: [...operations, ...extra] }).list();
    expect(tools.map((tool) => [tool.name, tool.effect])).toEqual([
      ["shop_find", "read"],
      ["shop_put", "idempotent"],
      ["shop_send", "write"],
      ["shop_search", "read"],
      ["shop_drop", "idempotent"],
      ["shop_change", "write"],
    ]);
    expect(tools.at(-1)?.visibility).toEqual({ arguments: false, results: true });
    expect(await toolkit().describe("shop_find")).toMatchObject({ connection: "none", scopes: [] });
    expect(await toolkit().describe("shop_nothing")).toBeNull();
  });

  it("reads with the arguments in path and query, and without a key", async () => {
    const answer = await toolkit().execute("shop_find", request({ id: "a/b ?", fields: "x" }));
    expect(answer).toEqual({ content: { ok: true, path: "/api/orders/a%2Fb%20%3F?fields=x", received: null } });
    expect(server.ledger).toMatchObject([{ method: "GET", key: null }]);
  });

  it("changes with the arguments in the body and the key in its header", async () => {
    await toolkit({ headers: { authorization: "Bearer t" } }).execute("shop_put", request({ id: "7", note: "n" }));
    await toolkit({ idempotencyHeader: "X-Key" }).execute("shop_send", request({ to: "a@b" }));
    expect(server.ledger).toMatchObject([
      {
        method: "PUT",
        path: "/api/orders/7",
        key: "key-1",
        body: { note: "n" },
        headers: { authorization: "Bearer t" },
      },
      { method: "POST", path: "/api/mail", key: null, body: { to: "a@b" }, headers: { "x-key": "key-1" } },
    ]);
  });

  it.each([".", "..", ""])("does not let an argument leave the path: %o", async (id) => {
    expect(await toolkit().execute("shop_find", request({ id }))).toMatchObject({ isError: true });
    expect(server.ledger).toEqual([]);
  });

  it("reads no more of an answer than it may", async () => {
    const big = await startToolServer({ answer: () => "x".repeat(50_000) });
    try {
      const tools = toolkit({ baseUrl: big.url, maxResponseBytes: 1_000 });
      const { content } = await tools.execute("shop_find", request({ id: "1" }));
      expect(String(content)).toMatch(/^"x{999} … \[cut\]$/);
    } finally {
      await big.stop();
    }
  });
});

describe("what an HTTP tool's failure means", () => {
  it.each<[string, ToolFault, object]>([
    ["no answer in time", { kind: "hang", when: "after" }, { kind: "unknown_outcome", code: "timeout" }],
    ["a cut connection", { kind: "cut", when: "after" }, { kind: "unknown_outcome", code: "connection_lost" }],
    ["500", { kind: "error", when: "after" }, { kind: "unknown_outcome", code: "server_error" }],
    ["504", { kind: "error", when: "after", status: 504 }, { kind: "unknown_outcome", code: "server_error" }],
    ["503", { kind: "error", when: "before", status: 503 }, { kind: "transient", code: "unavailable" }],
    [
      "429",
      { kind: "rateLimited", retryAfterSeconds: 3 },
      { kind: "transient", code: "rate_limited", retryAfterMs: 3_000 },
    ],
  ])("%s", async (_, fault, expected) => {
    expect(await failureOf("shop_send", fault)).toMatchObject(expected);
  });

  it.each([400, 401, 404, 409, 422, 501])("a refusal with %i is an answer for the model", async (status) => {
    expect(await failureOf("shop_send", { kind: "error", when: "before", status })).toEqual({
      answer: { content: { status, error: { error: "something broke" } }, isError: true },
    });
  });

  it("a redirect is not followed", async () => {
    expect(await failureOf("shop_find", { kind: "error", when: "before", status: 302 })).toMatchObject({
      answer: { isError: true },
    });
  });

  it("a refused connection: nothing was sent", async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => closed.once("listening", resolve));
    const address = closed.address();
    const port = typeof address === "object" && address ? address.port : 0;
    await new Promise((resolve) => closed.close(resolve));
    const tools = toolkit({ baseUrl: `http://127.0.0.1:${port}` });
    const error = await tools.execute("shop_send", request({})).catch((caught: unknown) => caught);
    expect(tools.classifyFailure(error)).toMatchObject({ kind: "transient", code: "connection_failed", notSent: true });
  });

  it("an answer that is no JSON is passed on as text", async () => {
    expect(await failureOf("shop_find", { kind: "garbage" })).toEqual({ answer: { content: "<html>\u0000{" } });
  });
});

describe("a write on a connection that was kept open", () => {
  const drops: (() => void)[] = [];
  afterEach(() => drops.splice(0).forEach((drop) => drop()));

  it("always gets a new one, so that a stale one cannot leave its outcome unknown", async () => {
    const connections: number[] = [];
    const raw = createServer((socket) => {
      connections.push(1);
      socket.on("data", () => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
      socket.on("error", () => {});
      drops.push(() => socket.destroy());
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => raw.once("listening", resolve));
    drops.push(() => raw.close());
    const address = raw.address();
    const tools = toolkit({ baseUrl: `http://127.0.0.1:${typeof address === "object" && address ? address.port : 0}` });
    for (let call = 0; call < 3; call++) await tools.execute("shop_send", request({ to: "x" }));
    expect(connections).toHaveLength(3);
    for (let call = 0; call < 3; call++) await tools.execute("shop_find", request({ id: "x" }));
    expect(connections.length, "reads share connections").toBeLessThan(6);
  });
});
