/** An agent as another assistant sees it: through the protocol's official client, and by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Agent, Page, Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { apiAt, type Api } from "./api-client.ts";
import { startCluster, type Cluster } from "./cluster.ts";

let cluster: Cluster;
let staff: Api;
let url: string;
const clients: Client[] = [];

beforeAll(async () => {
  cluster = await startCluster({ servers: 1, workers: 1 });
  const origin = cluster.servers[0]?.url ?? "";
  staff = apiAt(origin, cluster.keys.secretKey);
  const operations = [{ name: "send", description: "Sends", method: "POST", path: "/send" }];
  const settings = { name: "shop", baseUrl: "https://tools.example", operations };
  await staff.request("POST", "/v1/documents", { title: "Hours", text: "We open at nine and close at five." });
  await staff.request<Agent>("PATCH", `/v1/agents/${cluster.keys.agentId}`, {
    name: "Shop",
    toolkits: [{ toolkit: "http", settings, tools: { send: "approve" } }],
  });
  await staff.request("POST", `/v1/agents/${cluster.keys.agentId}/publish`);
  url = `${origin}/v1/agents/${cluster.keys.agentId}/mcp`;
}, 180_000);

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
afterAll(() => cluster?.stop());

async function connect(address = url, token = cluster.keys.secretKey): Promise<Client> {
  const client = new Client({ name: "a partner's assistant", version: "1" });
  const headers = { authorization: `Bearer ${token}` };
  clients.push(client);
  await client.connect(new StreamableHTTPClientTransport(new URL(address), { requestInit: { headers } }));
  return client;
}

const ask = (client: Client, message: string, more: Record<string, unknown> = {}) =>
  client.callTool({ name: "ask", arguments: { message, ...more } });

interface Answer {
  conversationId: string;
  runId: string;
  status: string;
  citations: unknown[];
  waitsFor?: { interruptId: string; reason: string }[];
}
const answerOf = (result: { [key: string]: unknown }) => result.structuredContent as Answer;
const statusOf = async (runId: string) => (await staff.request<Run>("GET", `/v1/runs/${runId}`)).status;

async function newestRun(): Promise<Run> {
  const [run] = (await staff.request<Page<Run>>("GET", "/v1/runs?limit=1")).items;
  if (!run) throw new Error("no run");
  return run;
}

describe("an agent, asked by the official client", () => {
  test("is a server with one tool, and answers as one who remembers the conversation", async () => {
    const client = await connect();
    const { tools } = await client.listTools();
    expect(tools.map(({ name, description }) => [name, description?.includes("Shop")])).toEqual([["ask", true]]);
    const first = await ask(client, say("Hello", { steps: [{ kind: "text", text: "Hello to you." }] }));
    expect(first).toMatchObject({ content: [{ type: "text", text: "Hello to you." }] });
    const { conversationId, runId, status } = answerOf(first);
    expect([status, await statusOf(runId)]).toEqual(["completed", "completed"]);
    const again = await ask(client, say("And?", { steps: [{ kind: "text", text: "Again." }] }), { conversationId });
    expect(answerOf(again).conversationId).toBe(conversationId);
    expect(answerOf(again).runId).not.toBe(runId);
    expect(JSON.stringify(cluster.model.requests.at(-1)?.body)).toContain("Hello to you.");
  });

  test("names what its answer rests on", async () => {
    const search = { kind: "toolCall" as const, name: "knowledge_search", arguments: { query: "open" } };
    const turns = [{ steps: [search] }, { steps: [{ kind: "text" as const, text: "At nine [1]." }] }];
    const result = await ask(await connect(), say("When do you open?", ...turns));
    expect(answerOf(result).citations).toEqual([
      { number: 1, title: "Hours", url: null, quote: expect.stringContaining("nine") },
    ]);
  });

  test("says so far what it has said", async () => {
    const client = await connect();
    const heard: string[] = [];
    const steps = [
      { kind: "text", text: "Let me see. " },
      { kind: "wait", ms: 400 },
      { kind: "text", text: "Yes." },
    ] as const;
    const request = { name: "ask", arguments: { message: say("Slowly", { steps: [...steps] }) } };
    await client.callTool(request, undefined, { onprogress: ({ message }) => heard.push(message ?? "") });
    expect(heard[0]).toContain("Let me see.");
  });

  test("says what it waits for, and for whom; the run waits on", async () => {
    const call = { kind: "toolCall" as const, name: "shop_send", arguments: {} };
    const result = await ask(await connect(), say("Send it", { steps: [call] }));
    expect(result.isError).toBeFalsy();
    expect(JSON.stringify(result.content)).toContain("waits for a person");
    const answer = answerOf(result);
    expect(answer).toMatchObject({ status: "waiting", waitsFor: [{ reason: "approval" }] });
    expect(await statusOf(answer.runId)).toBe("waiting");
    await staff.request("POST", `/v1/runs/${answer.runId}/cancel`);
  });

  test("stops when it is told that the answer is not wanted, and when nobody is there to read it", async () => {
    const slow = say("Slow", {
      steps: [
        { kind: "text", text: "Well. " },
        { kind: "wait", ms: 20_000 },
      ],
    });
    for (const how of ["told", "gone"] as const) {
      const client = await connect();
      const stop = new AbortController();
      const before = (await newestRun()).id;
      const request = { name: "ask", arguments: { message: slow } };
      const asked = client.callTool(request, undefined, { signal: stop.signal }).catch((error: unknown) => error);
      const run = await waitFor(
        async () => {
          const newest = await newestRun();
          return newest.id !== before && newest.status === "running" && newest;
        },
        { describe: `a run to be ${how}`, timeoutMs: 20_000 },
      );
      if (how === "told") stop.abort();
      else await client.close();
      await waitFor(async () => (await statusOf(run.id)) === "cancelled", {
        describe: `the run to be cancelled, once ${how}`,
        timeoutMs: 10_000,
      });
      await asked;
    }
  });

  test("does once what is asked twice with one key", async () => {
    const client = await connect();
    const request = {
      name: "ask",
      arguments: { message: say("Once", { steps: [{ kind: "text", text: "Once." }] }) },
      _meta: { "agentengine.dev/idempotency-key": "the-key" },
    };
    const [first, second] = [await client.callTool(request), await client.callTool(request)];
    expect(answerOf(second)).toEqual(answerOf(first));
  });

  test("tells in words what is wrong", async () => {
    const client = await connect();
    const refused = async (args: Record<string, unknown>) => {
      const result = await client.callTool({ name: "ask", arguments: args });
      expect(result.isError).toBe(true);
      return JSON.stringify(result.content);
    };
    expect(await refused({ message: "" })).toContain("message");
    expect(await refused({ message: "x", conversationId: "conv_0198c0de00007000800000000000cafe" })).toContain(
      "no such",
    );
    await expect(client.callTool({ name: "other", arguments: {} })).rejects.toThrow("Unknown tool");
    const draft = await staff.request<Agent>("POST", "/v1/agents", { name: "Draft" });
    const drafted = await connect(url.replace(cluster.keys.agentId, draft.id));
    expect(JSON.stringify((await ask(drafted, "Hello")).content)).toContain("not been published");
  });

  test("is not there for a key that may not ask, nor for another agent's address", async () => {
    const { key } = await staff.request<{ key: string }>("POST", "/v1/api-keys", { name: "r", scopes: ["runs:read"] });
    await expect(connect(url, key)).rejects.toThrow("403");
    await expect(connect(url, "nonsense")).rejects.toThrow("401");
    await expect(connect(url.replace(/agent_\w+/, "agent_0198c0de00007000800000000000cafe"))).rejects.toThrow("404");
  });
});

describe("an agent, asked by hand", () => {
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${cluster.keys.secretKey}`, "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });

  test("answers one document to one request, without a greeting", async () => {
    const message = say("Hi", { steps: [{ kind: "text", text: "Hi." }] });
    const params = { name: "ask", arguments: { message } };
    const answer = await post({ jsonrpc: "2.0", id: 7, method: "tools/call", params });
    expect([answer.status, answer.headers.get("content-type")]).toEqual([200, "application/json"]);
    expect(await answer.json()).toMatchObject({
      id: 7,
      result: { content: [{ text: "Hi." }], structuredContent: { status: "completed" } },
    });
  });

  test("refuses what is no message of the protocol, and other methods", async () => {
    const answer = await post({ hello: "world" });
    expect([answer.status, await answer.json()]).toMatchObject([400, { code: "invalid_request" }]);
    const headers = { authorization: `Bearer ${cluster.keys.secretKey}` };
    expect((await fetch(url, { headers })).status).toBe(405);
    expect((await fetch(url, { method: "DELETE", headers })).status).toBe(405);
  });
});
