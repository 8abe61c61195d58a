/** The whole of Composio through the API: what there is, installed, connected, tried, expired, ended. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CatalogueTool, CatalogueToolkit } from "@agent-engine/protocol/catalogue.ts";
import type { Connection, ConnectionLink, InstalledToolkit, Tool, ToolTest } from "@agent-engine/protocol/toolkits.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

const SECRET = "whsec_api";
let composio: ComposioServer;
let fixture: ServerFixture;

beforeAll(async () => {
  composio = await startComposioServer();
  const access = { apiKey: composio.apiKey, baseUrl: composio.url, webhookSecret: SECRET };
  fixture = await startServerFixture({ composio: access });
  composio.subscriptions.set("ws_1", {
    id: "ws_1",
    webhook_url: `${fixture.url}/v1/composio/webhooks`,
    enabled_events: ["composio.connected_account.expired"],
    version: "V3",
    secret: SECRET,
  });
});
afterAll(async () => {
  await fixture.stop();
  await composio.stop();
});

async function ask<T>(method: string, path: string, body?: unknown): Promise<T> {
  const answer = await call<T>(fixture, method, path, { token: fixture.demo.secretKey, ...(body ? { body } : {}) });
  expect([answer.status, answer.body]).toEqual([expect.toSatisfy((status: number) => status < 300), expect.anything()]);
  return answer.body;
}

async function install(name: string, settings: object): Promise<InstalledToolkit> {
  return ask("POST", "/v1/toolkits", { kind: "composio", name, settings });
}

/** A person opens the link in a browser, and decides on the consent page. */
async function consent(link: ConnectionLink, decision: "allow" | "deny"): Promise<string> {
  const started = await fetch(link.url, { redirect: "manual" });
  const isOurs = started.status === 302 && started.headers.get("set-cookie") !== null;
  const page = isOurs ? (started.headers.get("location") ?? "") : link.url;
  const body = new URLSearchParams({ decision });
  const decided = await fetch(page, { method: "POST", body, redirect: "manual" });
  const cookie = (started.headers.get("set-cookie") ?? "").split(";")[0] ?? "";
  const back = await fetch(decided.headers.get("location") ?? "", { headers: { cookie } });
  return back.text();
}

async function connect(toolkit: InstalledToolkit): Promise<Connection> {
  const link = await ask<ConnectionLink>("POST", "/v1/connections/link", { toolkitId: toolkit.id });
  expect(await consent(link, "allow")).toContain("is connected");
  return ask("GET", `/v1/connections/${link.connectionId}`);
}

async function toolOf(toolkit: InstalledToolkit, remote: string): Promise<Tool> {
  const { items } = await ask<Page<Tool>>("GET", `/v1/tools?toolkitId=${toolkit.id}`);
  const found = items.find((tool) => tool.remote === remote);
  if (!found) throw new Error(`no ${remote} among ${items.map((tool) => tool.remote).join()}`);
  return found;
}

describe("the catalogue", () => {
  test("is searched by toolkit and by tool", async () => {
    const { items } = await ask<Page<CatalogueToolkit>>("GET", "/v1/toolkits/catalogue?search=mails");
    expect(items.map(({ slug }) => slug)).toEqual(["gmail"]);
    const page = await ask<Page<CatalogueToolkit>>("GET", "/v1/toolkits/catalogue?limit=3");
    expect(page.items).toHaveLength(3);
    const next = await ask<Page<CatalogueToolkit>>("GET", `/v1/toolkits/catalogue?limit=3&cursor=${page.nextCursor}`);
    expect(next.items[0]?.slug).not.toBe(page.items[2]?.slug);
    const tools = await ask<Page<CatalogueTool>>("GET", "/v1/toolkits/catalogue/tools?toolkit=gmail&search=draft");
    expect(tools.items.map(({ slug }) => slug)).toEqual(["GMAIL_CREATE_EMAIL_DRAFT"]);
  });
});

describe("a toolkit of it", () => {
  test("is installed, connected, tried with the tenant's account, and ended at the provider", async () => {
    const toolkit = await install("mail", { toolkit: "gmail", connections: "tenant" });
    expect(toolkit).toMatchObject({ toolCount: 3, problems: [] });
    const connection = await connect(toolkit);
    expect(connection).toMatchObject({ status: "active", visitorId: null });
    const tool = await toolOf(toolkit, "GMAIL_FETCH_EMAILS");
    const tried = await ask<ToolTest>("POST", `/v1/tools/${tool.id}/test`, { arguments: { query: "is:unread" } });
    expect(tried).toMatchObject({ ok: true, failure: null });
    expect(tried.content).toContain("ann@example.com");
    const owner = `tenant:${fixture.demo.tenantId}`;
    expect(composio.ledger.at(-1)).toMatchObject({ userId: owner, version: "20251103_00", outcome: "applied" });
    const id = composio.ledger.at(-1)?.connectedAccountId;
    expect(
      (await call(fixture, "DELETE", `/v1/connections/${connection.id}`, { token: fixture.demo.secretKey })).status,
    ).toBe(204);
    await expect.poll(() => composio.revoked).toContain(id);
  });

  test("whose consent was declined is not connected", async () => {
    const toolkit = await install("chat", { toolkit: "slack", connections: "tenant" });
    const link = await ask<ConnectionLink>("POST", "/v1/connections/link", { toolkitId: toolkit.id });
    expect(await consent(link, "deny")).toContain("was not connected");
    expect(await ask("GET", `/v1/connections/${link.connectionId}`)).toMatchObject({ status: "failed" });
  });

  test("whose account expired says so at once, and is connected anew", async () => {
    const toolkit = await install("code", { toolkit: "github", connections: "tenant" });
    const connection = await connect(toolkit);
    const tool = await toolOf(toolkit, "GITHUB_GET_A_REPOSITORY");
    const args = { arguments: { owner: "o", repo: "r" } };
    await ask("POST", `/v1/tools/${tool.id}/test`, args);
    const id = composio.ledger.at(-1)?.connectedAccountId ?? "";
    expect(await composio.expire(id)).toEqual([200]);
    expect(await ask("GET", `/v1/connections/${connection.id}`)).toMatchObject({ status: "expired" });
    const again = await ask<ConnectionLink>("POST", "/v1/connections/link", {
      toolkitId: toolkit.id,
      connectionId: connection.id,
    });
    expect(await consent(again, "allow")).toContain("is connected");
    expect(await ask<ToolTest>("POST", `/v1/tools/${tool.id}/test`, args)).toMatchObject({ ok: true });
    expect(composio.ledger.at(-1)?.connectedAccountId).not.toBe(id);
  });

  test("that does not exist is refused, with what to do", async () => {
    const body = { kind: "composio", name: "typo", settings: { toolkit: "gmial", connections: "none" } };
    const answer = await call(fixture, "POST", "/v1/toolkits", { token: fixture.demo.secretKey, body });
    expect(answer).toMatchObject({ status: 400, body: { detail: expect.stringContaining("The catalogue lists") } });
  });
});

test("a webhook that nobody signed is refused", async () => {
  const body = { type: "composio.connected_account.expired", data: { id: "ca_1" } };
  expect((await call(fixture, "POST", "/v1/composio/webhooks", { body })).status).toBe(401);
});
