import { createServer } from "node:net";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import {
  startMcpServer,
  type McpFault,
  type McpServerOptions,
  type McpTestServer,
} from "@agent-engine/testing/mcp-server.ts";
import { listen } from "@agent-engine/testing/listening.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { createEgress } from "../../net/egress.ts";
import type { KindDeps } from "../toolkit-kind.ts";
import type { Toolkit, ToolRequest } from "../toolkit.ts";
import { depsOf, discovered, requestOf, says, settingsOf, toolThat } from "./mcp-fixture.ts";
import { contentOf } from "./mcp-content.ts";
import { mcpKind, mcpToolkit } from "./mcp-kind.ts";

const egress = createEgress({ allowLoopback: true });
afterAll(() => egress.close());
const open: { stop?: () => Promise<void>; close?: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).toReversed()) await (one.stop ?? one.close)?.();
});

const TOOLS = [
  toolThat("find", () => says("found"), { readOnlyHint: true }),
  toolThat("put", () => says("put"), { idempotentHint: true }),
  toolThat("send", ({ to }) => says(`sent to ${String(to)}`)),
];

async function start(options: Partial<McpServerOptions> = {}): Promise<McpTestServer> {
  const server = await startMcpServer({ tools: TOOLS, ...options });
  open.push(server);
  return server;
}

function toolkitAt(url: string, settings: Record<string, unknown> = {}, deps: Partial<KindDeps> = {}, idleMs = 30_000) {
  const tools = [discovered("find", "read"), discovered("put", "idempotent"), discovered("send"), discovered("gone")];
  const toolkit = mcpToolkit(
    "shop",
    settingsOf({ url, timeoutMs: 2_000, ...settings }),
    tools,
    depsOf(egress, deps),
    idleMs,
  );
  open.push({ close: () => toolkit.close?.() ?? Promise.resolve() });
  return toolkit;
}

async function attempt(toolkit: Toolkit, tool: string, request: ToolRequest = requestOf({})) {
  try {
    return { answer: await toolkit.execute(tool, request) };
  } catch (error) {
    return toolkit.classifyFailure(error);
  }
}

describe("what an MCP server offers", () => {
  const ask = (server: McpTestServer, settings: Record<string, unknown> = {}) =>
    mcpKind.discover("shop", settingsOf({ url: server.url, ...settings }), depsOf(egress), AbortSignal.timeout(5_000));

  it("is read page by page, with the effect that each tool's hints say", async () => {
    const found = await ask(await start({ pageSize: 2 }));
    expect(found.problems).toEqual([]);
    expect(found.tools.map(({ name, remote, effect }) => [name, remote, effect])).toEqual([
      ["shop_find", "find", "read"],
      ["shop_put", "put", "idempotent"],
      ["shop_send", "send", "write"],
    ]);
  });

  it("leaves out what cannot be used, with a reason, and what was not asked for", async () => {
    const odd = { listed: { name: "odd", inputSchema: { type: "array" } }, run: () => says("") };
    const server = await start({ tools: [...TOOLS, odd, { listed: { title: "nameless" }, run: () => says("") }] });
    const all = await ask(server);
    expect(all.tools).toHaveLength(3);
    expect(all.problems).toEqual([
      expect.stringMatching(/^odd: left out/),
      expect.stringMatching(/^Tool 5 .*left out/),
    ]);
    const some = await ask(server, { tools: ["find", "nothing"] });
    expect(some.tools.map(({ remote }) => remote)).toEqual(["find"]);
    expect(some.problems).toContainEqual("nothing: the server has no tool of this name.");
  });

  it("is found with an old server, which knows only SSE", async () => {
    const found = await ask(await start({ isSse: true }));
    expect(found.tools).toHaveLength(3);
  });

  it("ends the session that it asked in", async () => {
    const server = await start();
    await ask(server);
    expect(server.sessions()).toEqual([]);
  });

  it("says what to do where there is no such server, and where it asks for a credential", async () => {
    const server = await start({ admits: () => false });
    await expect(ask(server)).rejects.toMatchObject({
      code: "invalid_request",
      detail: expect.stringContaining("headers"),
    });
    await expect(ask({ ...server, url: `${server.origin}/nothing` })).rejects.toMatchObject({
      code: "invalid_request",
    });
    await server.stop();
    open.splice(0);
    await expect(ask(server)).rejects.toMatchObject({ code: "unavailable" });
    const found = await ask(await start({ admits: () => false }), { connections: "tenant" });
    expect(found).toMatchObject({ tools: [], problems: [expect.stringContaining("Connect one")] });
  });
});

describe("a call of an MCP tool", () => {
  it("sends the credentials and, where it changes something, its key; the model reads the text", async () => {
    const server = await start();
    const toolkit = toolkitAt(server.url, { headers: { "x-api-key": "secret-1" } });
    expect(await toolkit.execute("shop_send", requestOf({ to: "a@b" }))).toEqual({ content: "sent to a@b" });
    expect(await toolkit.execute("shop_find", requestOf({}))).toEqual({ content: "found" });
    expect(server.ledger).toMatchObject([
      { tool: "send", arguments: { to: "a@b" }, key: "key-1", headers: { "x-api-key": "secret-1" } },
      { tool: "find", key: null },
    ]);
  });

  it("greets once for a run's calls, ten at a time, and anew for another run", async () => {
    const server = await start();
    const toolkit = toolkitAt(server.url);
    await Promise.all(Array.from({ length: 10 }, () => toolkit.execute("shop_find", requestOf({}))));
    await toolkit.execute("shop_find", requestOf({}));
    expect(new Set(server.ledger.map(({ session }) => session)).size).toBe(1);
    expect(server.heard.filter((method) => method === "initialize")).toHaveLength(1);
    const other = requestOf({});
    await toolkit.execute("shop_find", { ...other, context: { ...other.context, runId: "run_2" } });
    expect(new Set(server.ledger.map(({ session }) => session)).size).toBe(2);
  });

  it("leaves neither a session nor a connection behind when it was idle, or closed", async () => {
    const server = await start();
    const short = toolkitAt(server.url, {}, {}, 1);
    await short.execute("shop_send", requestOf({}));
    await waitFor(() => server.sessions().length === 0, { describe: () => "the idle session to end" });
    const long = toolkitAt(server.url);
    await long.execute("shop_send", requestOf({}));
    expect(server.sessions()).toHaveLength(1);
    await long.close?.();
    expect(server.sessions()).toEqual([]);
    await egress.fetch(server.origin).then((answer) => answer.text());
    await waitFor(() => server.connections() <= 1, { describe: () => "all but one kept connection to close" });
  });

  it("opens a new session where the server has forgotten the one it had, and calls once", async () => {
    const server = await start();
    const toolkit = toolkitAt(server.url);
    await toolkit.execute("shop_send", requestOf({}));
    server.forgetSessions();
    expect(await toolkit.execute("shop_send", requestOf({ to: "x" }))).toEqual({ content: "sent to x" });
    expect(server.ledger).toHaveLength(2);
    expect(server.heard.filter((method) => method === "initialize")).toHaveLength(2);
  });

  it("works with an old server", async () => {
    const server = await start({ isSse: true });
    const toolkit = toolkitAt(server.url);
    expect(await toolkit.execute("shop_send", requestOf({ to: "x" }))).toEqual({ content: "sent to x" });
    await toolkit.close?.();
    await waitFor(() => server.sessions().length === 0, { describe: () => "the stream to end" });
  });

  it("passes on what the server says of its progress", async () => {
    const slow = toolThat("send", async (_, { progress }) => {
      await progress(1, 3, "Packing");
      await progress(2, 3);
      return says("done");
    });
    const heard: string[] = [];
    const toolkit = toolkitAt((await start({ tools: [slow] })).url);
    await toolkit.execute("shop_send", requestOf({}, { onProgress: (text) => heard.push(text) }));
    expect(heard).toEqual(["Packing", "2/3"]);
  });

  it("tells when the server's list has changed, and the model when its tool is gone", async () => {
    let changes = 0;
    const server = await start();
    const toolkit = toolkitAt(server.url, {}, { onToolsChanged: () => changes++ });
    await toolkit.execute("shop_find", requestOf({}));
    // The stream for what is said unasked is opened beside the calls.
    await waitFor(() => server.connections() >= 2, { describe: () => "the stream" });
    await server.setTools([]);
    await waitFor(() => changes > 0, { describe: () => "the notification" });
    expect(await toolkit.execute("shop_find", requestOf({}))).toEqual({
      content: { error: expect.stringContaining("Unknown tool") },
      isError: true,
    });
    expect(changes).toBe(2);
  });

  it("gives the model no bytes of pictures and files, and no more than it may read", async () => {
    const data = Buffer.from("x".repeat(3_000)).toString("base64");
    const content = [
      { type: "text", text: "Here." },
      { type: "image", data, mimeType: "image/png" },
      { type: "resource", resource: { uri: "file:///a.zip", mimeType: "application/zip", blob: data } },
      { type: "resource_link", uri: "https://shop.example/b", name: "b.pdf", size: 7 },
    ];
    const tools = [
      toolThat("find", () => ({ content })),
      toolThat("put", () => ({ content: [{ type: "text", text: '{"a": 1}' }], structuredContent: { a: 1 } })),
      toolThat("send", () => says("ü".repeat(5_000))),
    ];
    const toolkit = toolkitAt((await start({ tools })).url, { maxResultBytes: 1_001 });
    expect(await toolkit.execute("shop_find", requestOf({}))).toEqual({
      content: {
        text: "Here.",
        files: [
          { kind: "image", type: "image/png", sizeBytes: 3_000 },
          { kind: "resource", name: "file:///a.zip", type: "application/zip", sizeBytes: 3_000 },
          { kind: "resource", name: "b.pdf", sizeBytes: 7 },
        ],
      },
    });
    expect(await toolkit.execute("shop_put", requestOf({}))).toEqual({ content: { a: 1 } });
    expect(await toolkit.execute("shop_send", requestOf({}))).toEqual({ content: `${"ü".repeat(500)} … [cut]` });
  });

  it("does not fail for a part that it does not know", () => {
    const content = [{ type: "text", text: "Here." }, { type: "hologram", data: "x" }, null];
    expect(contentOf({ content }, 1_000)).toEqual({ text: "Here.", unreadParts: 2 });
  });

  it("gives nobody a credential that the server repeats", async () => {
    const tools = [
      toolThat("find", () => says("your key is secret-12")),
      toolThat("put", () => ({ content: [], structuredContent: { key: "secret-12" } })),
    ];
    const server = await start({ tools });
    const toolkit = toolkitAt(server.url, { headers: { "x-api-key": "secret-12" } });
    const answers = [await attempt(toolkit, "shop_find"), await attempt(toolkit, "shop_put")];
    server.enqueueFaults({ kind: "rpc", code: -32_603, message: "broke with secret-12" });
    expect(JSON.stringify([...answers, await attempt(toolkit, "shop_send")])).not.toContain("secret-12");
  });
});

describe("what an MCP tool's failure means", () => {
  const lost = { kind: "unknown_outcome", code: "connection_lost" };
  it.each<[string, McpFault, object]>([
    ["no answer in time", { kind: "hang", when: "after" }, { kind: "unknown_outcome", code: "timeout" }],
    ["a cut connection", { kind: "cut", when: "after" }, lost],
    ["a cut connection, and who knows what was done", { kind: "cut", when: "before" }, lost],
    ["500", { kind: "status", when: "before", status: 500 }, { kind: "unknown_outcome", code: "server_error" }],
    ["503", { kind: "status", when: "before", status: 503 }, { kind: "transient", code: "unavailable" }],
    [
      "429",
      { kind: "status", when: "before", status: 429, headers: { "retry-after": "90" } },
      { kind: "transient", code: "rate_limited", retryAfterMs: 90_000 },
    ],
    ["401", { kind: "status", when: "before", status: 401 }, { kind: "needs_person", code: "connection_expired" }],
    [
      "an internal error",
      { kind: "rpc", code: -32_603, message: "x" },
      { kind: "unknown_outcome", code: "server_error" },
    ],
  ])("%s", async (_, fault, expected) => {
    const server = await start();
    server.enqueueFaults(fault);
    const toolkit = toolkitAt(server.url, { timeoutMs: 500 });
    expect(await attempt(toolkit, "shop_send")).toMatchObject(expected);
    expect(await toolkit.execute("shop_find", requestOf({})), "the next call is not harmed").toEqual({
      content: "found",
    });
  });

  it.each<[string, McpFault]>([
    ["403", { kind: "status", when: "before", status: 403 }],
    ["a redirect", { kind: "status", when: "before", status: 307, headers: { location: "/elsewhere" } }],
    ["a JSON-RPC error", { kind: "rpc", code: -32_602, message: "no" }],
  ])("%s is an answer for the model", async (_, fault) => {
    const server = await start();
    server.enqueueFaults(fault);
    expect(await attempt(toolkitAt(server.url), "shop_send")).toMatchObject({ answer: { isError: true } });
    expect(server.ledger.filter(({ isApplied }) => isApplied)).toEqual([]);
  });

  it("a tool's own error is an answer for the model", async () => {
    const tools = [toolThat("send", () => ({ ...says("no such person"), isError: true }))];
    expect(await attempt(toolkitAt((await start({ tools })).url), "shop_send")).toEqual({
      answer: { content: { error: "no such person" }, isError: true },
    });
  });

  it("a server that cannot be greeted got nothing of the call", async () => {
    const silent = createServer((socket) => void socket.resume().on("error", () => {}));
    const port = await listen(silent, 0);
    const toolkit = toolkitAt(`http://127.0.0.1:${port}/mcp`, { timeoutMs: 200 });
    expect(await attempt(toolkit, "shop_send")).toMatchObject({ kind: "transient", notSent: true });
    await new Promise((resolve) => silent.close(resolve));
    expect(await attempt(toolkit, "shop_send")).toMatchObject({ kind: "transient", notSent: true });
    const refusing = await start({ admits: () => false });
    expect(await attempt(toolkitAt(refusing.url), "shop_send")).toMatchObject({
      code: "connection_expired",
      notSent: true,
    });
  });

  it("an address inside is refused", async () => {
    const strict = createEgress({ allowLoopback: false });
    const tools = [discovered("send")];
    for (const url of ["http://127.0.0.1:1/mcp", "http://169.254.169.254/mcp"]) {
      for (const transport of ["streamable-http", "sse"]) {
        const toolkit = mcpToolkit("shop", settingsOf({ url, transport }), tools, depsOf(strict));
        expect(await attempt(toolkit, "shop_send")).toMatchObject({ code: "address_refused" });
      }
    }
    await strict.close();
  });

  it("a stop ends the call at once and tells the server", async () => {
    const server = await start();
    server.enqueueFaults({ kind: "hang", when: "after" });
    const stop = new AbortController();
    const toolkit = toolkitAt(server.url);
    const call = toolkit.execute("shop_send", requestOf({}, { signal: stop.signal })).catch((error: unknown) => error);
    await waitFor(() => server.ledger.length === 1, { describe: () => "the call" });
    stop.abort(new Error("stopped"));
    expect(await call).toMatchObject({ message: "stopped" });
    await waitFor(() => server.heard.includes("notifications/cancelled"), { describe: () => "the server to be told" });
    await waitFor(() => server.sessions().length === 0, { describe: () => "the session to end" });
  });

  it("an answer that is too large to read is no answer to a write, and a refusal of a read", async () => {
    const huge = () => says("x".repeat(6_000_000));
    const tools = [toolThat("find", huge), toolThat("send", huge)];
    const toolkit = toolkitAt((await start({ tools })).url, { timeoutMs: 10_000 });
    expect(await attempt(toolkit, "shop_find")).toMatchObject({ answer: { isError: true } });
    expect(await attempt(toolkit, "shop_send")).toMatchObject({ kind: "unknown_outcome" });
  });
});
