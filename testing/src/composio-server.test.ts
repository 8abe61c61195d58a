import { createServer } from "node:http";
import { Composio } from "@composio/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startComposioServer, type ComposioServer } from "./composio-server.ts";
import { listen } from "./listening.ts";

let server: ComposioServer;
let composio: Composio;

beforeAll(async () => {
  server = await startComposioServer();
  composio = new Composio({
    apiKey: server.apiKey,
    baseURL: server.url,
    allowTracking: false,
    disableVersionCheck: true,
    toolkitVersions: { gmail: "20250909_00" },
  });
});
afterAll(() => server.stop());

async function get(path: string, apiKey = server.apiKey): Promise<Response> {
  return fetch(`${server.url}/api/v3.1${path}`, { headers: { "x-api-key": apiKey } });
}

describe("the real SDK", () => {
  test("lists tools in the version it was given, and reads one", async () => {
    const tools = await composio.tools.getRawComposioTools({ toolkits: ["gmail"], limit: 100 });
    expect(tools.map(({ slug, version }) => [slug, version])).toContainEqual(["GMAIL_SEND_EMAIL", "20250909_00"]);
    const important = await composio.tools.getRawComposioTools({ toolkits: ["gmail"] });
    expect(important.length).toBeLessThan(tools.length);
    const tool = await composio.tools.getRawComposioToolBySlug("SLACK_SEND_MESSAGE");
    expect(tool).toMatchObject({ version: "20251103_00", availableVersions: ["20250909_00", "20251103_00"] });
  });

  test("connects an account through the consent page, then executes with it", async () => {
    const config = await composio.authConfigs.create("gmail");
    const link = await composio.connectedAccounts.link("tenant:1", config.id, {
      callbackUrl: "http://127.0.0.1:9/back?state=s1",
    });
    expect(await (await fetch(link.redirectUrl ?? "")).text()).toContain("Allow");
    const decided = await fetch(link.redirectUrl ?? "", {
      method: "POST",
      body: new URLSearchParams({ decision: "allow" }),
      redirect: "manual",
    });
    expect(decided.headers.get("location")).toBe(
      `http://127.0.0.1:9/back?state=s1&status=success&connected_account_id=${link.id}`,
    );
    const { items } = await composio.connectedAccounts.list({ userIds: ["tenant:1"] });
    expect(items).toMatchObject([{ id: link.id, status: "ACTIVE" }]);
    const answer = await composio.tools.execute("GMAIL_FETCH_EMAILS", {
      userId: "tenant:1",
      connectedAccountId: link.id,
      arguments: { query: "is:unread" },
      version: "20250909_00",
    });
    expect(answer).toMatchObject({ successful: true, data: { resultSizeEstimate: 1 } });
    expect(server.ledger.at(-1)).toMatchObject({ slug: "GMAIL_FETCH_EMAILS", userId: "tenant:1", outcome: "applied" });
  });

  test("is refused another user's account, and learns of it by code", async () => {
    const connectedAccountId = server.connect({ toolkit: "gmail", userId: "tenant:2" });
    const call = composio.tools.execute("GMAIL_FETCH_EMAILS", {
      userId: "tenant:3",
      connectedAccountId,
      arguments: {},
      version: "20250909_00",
    });
    await expect(call).rejects.toMatchObject({ cause: { status: 404, error: { error: { code: 1810 } } } });
  });

  test("verifies the webhooks it sends", async () => {
    const accountId = server.connect({ toolkit: "gmail", userId: "tenant:4" });
    const { id, timestamp, body, signature } = server.expiryOf(accountId, { webhook_url: "http://x", secret: "s" });
    const verified = await composio.triggers.verifyWebhook({ id, timestamp, payload: body, signature, secret: "s" });
    expect(verified.rawPayload).toMatchObject({ data: { id: accountId } });
  });
});

test("without the key nothing is answered", async () => {
  expect((await get("/toolkits", "wrong")).status).toBe(401);
});

test("a thousand toolkits come in pages, each once", async () => {
  const seen = new Set<string>();
  let cursor: string | null = "";
  while (cursor !== null) {
    const page = (await (await get(`/toolkits?limit=300&cursor=${cursor}`)).json()) as {
      items: { slug: string }[];
      next_cursor: string | null;
      total_items: number;
    };
    expect(page.total_items).toBe(1_000);
    for (const { slug } of page.items) seen.add(slug);
    cursor = page.next_cursor;
  }
  expect(seen.size).toBe(1_000);
});

test("faults come in order, before or after the effect", async () => {
  const connected_account_id = server.connect({ toolkit: "slack", userId: "u" });
  const send = () =>
    fetch(`${server.url}/api/v3.1/tools/execute/SLACK_SEND_MESSAGE`, {
      method: "POST",
      headers: { "x-api-key": server.apiKey },
      body: JSON.stringify({ user_id: "u", connected_account_id, arguments: { channel: "c", text: "t" } }),
    });
  server.enqueueFaults(
    "tools.execute",
    { kind: "error", when: "before", status: 502 },
    { kind: "rateLimited", retryAfterSeconds: 90 },
    { kind: "unsuccessful", error: "channel_not_found" },
    { kind: "error", when: "after", status: 500 },
    null,
  );
  expect((await send()).status).toBe(502);
  const limited = await send();
  expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "90"]);
  expect(await (await send()).json()).toMatchObject({ successful: false, error: "channel_not_found" });
  expect(server.effectsOf("SLACK_SEND_MESSAGE")).toBe(0);
  expect((await send()).status).toBe(500);
  expect((await send()).status).toBe(200);
  expect(server.effectsOf("SLACK_SEND_MESSAGE")).toBe(2);
  expect(server.ledger.filter(({ slug }) => slug === "SLACK_SEND_MESSAGE")).toHaveLength(5);
});

test("an expired account is told to whoever subscribed, signed with their secret", async () => {
  const received: { headers: Record<string, unknown>; body: string }[] = [];
  const subscriber = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      received.push({ headers: request.headers, body });
      response.end();
    });
  });
  const port = await listen(subscriber, 0);
  await fetch(`${server.url}/api/v3.1/webhook_subscriptions`, {
    method: "POST",
    headers: { "x-api-key": server.apiKey },
    body: JSON.stringify({
      webhook_url: `http://127.0.0.1:${port}/hooks`,
      enabled_events: ["composio.connected_account.expired"],
    }),
  });
  const accountId = server.connect({ toolkit: "gmail", userId: "tenant:5" });
  expect(await server.expire(accountId)).toEqual([200]);
  expect(JSON.parse(received[0]?.body ?? "")).toMatchObject({ data: { id: accountId, status: "EXPIRED" } });
  expect(received[0]?.headers["webhook-signature"]).toMatch(/^v1,/);
  subscriber.close();
});
