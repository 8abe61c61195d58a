import { afterAll, afterEach, describe, expect, it } from "vitest";
import { startMcpServer, type McpTestServer } from "@agent-engine/testing/mcp-server.ts";
import { startOAuthServer, type OAuthServer, type OAuthServerOptions } from "@agent-engine/testing/oauth-server.ts";
import { createEgress } from "../../net/egress.ts";
import type { ConnectedAccount } from "../toolkit-kind.ts";
import { depsOf, discovered, requestOf, says, settingsOf, toolThat } from "./mcp-fixture.ts";
import { mcpKind, mcpToolkit } from "./mcp-kind.ts";
import { mcpConnector } from "./mcp-oauth.ts";

const egress = createEgress({ allowLoopback: true });
afterAll(() => egress.close());
const running: { stop: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const server of running.splice(0)) await server.stop();
});

const CALLBACK = "https://engine.example/v1/connections/callback";
const OWNER = { ownerKey: "tenant:tenant_1:visitor:visitor_1" };
const soon = () => AbortSignal.timeout(5_000);

interface World {
  mcp: McpTestServer;
  auth: OAuthServer;
  settings: ReturnType<typeof settingsOf>;
}

async function start(options: OAuthServerOptions & { resource?: string; own?: object } = {}): Promise<World> {
  const auth = await startOAuthServer(options);
  const world: Partial<World> = { auth };
  const mcp = await startMcpServer({
    tools: [toolThat("send", () => says("sent"))],
    admits: (token) => auth.accepts(token, options.resource ?? world.mcp?.url ?? ""),
    protects: (url) => ({ resource: options.resource ?? url, authorization_servers: [auth.issuer] }),
  });
  running.push(auth, mcp);
  world.mcp = mcp;
  const settings = settingsOf({ url: mcp.url, connections: "visitor", ...options.own });
  return { mcp, auth, settings };
}

/** Goes where a person is sent; gives what the callback's query says. */
async function consent(url: string): Promise<Record<string, string>> {
  const answer = await fetch(url, { redirect: "manual" });
  return Object.fromEntries(new URL(answer.headers.get("location") ?? "").searchParams);
}

async function connect({ settings }: World, now: () => number = Date.now) {
  const deps = depsOf(egress, { now });
  const begun = await mcpConnector.link(
    settings,
    deps,
    { ...OWNER, callbackUrl: CALLBACK, state: "s1", label: null },
    soon(),
  );
  const account: ConnectedAccount = { ...OWNER, account: begun.account, secret: begun.secret ?? null };
  const finish = (query: Record<string, string>, state = "s1") =>
    mcpConnector.complete(settings, deps, { ...account, query, callbackUrl: CALLBACK, state }, soon());
  return { begun, account, finish, deps };
}

async function connected(world: World): Promise<ConnectedAccount> {
  const { begun, account, finish } = await connect(world);
  const done = await finish(await consent(begun.url));
  return { ...account, account: done.account, secret: done.secret ?? null };
}

describe("an account at an MCP server", () => {
  it("is connected through the authorization server that the server names, and then used", async () => {
    const world = await start();
    const { begun, finish } = await connect(world);
    const asked = new URL(begun.url);
    expect(Object.fromEntries(asked.searchParams)).toMatchObject({
      code_challenge_method: "S256",
      state: "s1",
      resource: world.mcp.url,
      redirect_uri: CALLBACK,
    });
    expect(JSON.stringify(begun.account)).not.toContain("erifier");
    const done = await finish(await consent(begun.url));
    expect(done).toMatchObject({ status: "active", scopes: ["read", "write"] });
    expect(Date.parse(done.expiresAt ?? "")).toBeGreaterThan(Date.now() + 3_000_000);

    const toolkit = mcpToolkit("shop", world.settings, [discovered("send")], depsOf(egress));
    const credential = { ...OWNER, account: done.account, secret: done.secret };
    const call = requestOf({}, { connection: { id: "connection_1", credential } });
    expect(await toolkit.execute("shop_send", call)).toEqual({ content: "sent" });
    world.auth.forgetTokens();
    const failed = await toolkit.execute("shop_send", call).catch((error: unknown) => toolkit.classifyFailure(error));
    expect(failed).toMatchObject({ kind: "needs_person", code: "connection_expired" });
    const none = await toolkit
      .execute("shop_send", requestOf({}))
      .catch((error: unknown) => toolkit.classifyFailure(error));
    expect(none).toMatchObject({ code: "connection_expired", notSent: true });
    await toolkit.close?.();
  });

  it("shows what tools there are", async () => {
    const world = await start();
    const ask = (account: ConnectedAccount | null) =>
      mcpKind.discover("shop", world.settings, depsOf(egress), soon(), account);
    expect(await ask(null)).toMatchObject({ tools: [], problems: [expect.stringContaining("Connect one")] });
    expect(await ask(await connected(world))).toMatchObject({ tools: [{ remote: "send", connection: "visitor" }] });
  });

  it.each<[string, (query: Record<string, string>) => Record<string, string>]>([
    ["another state", (query) => ({ ...query, state: "s2" })],
    ["another issuer", (query) => ({ ...query, iss: "https://evil.example" })],
    ["a code that was made up", (query) => ({ ...query, code: "x" })],
    ["a refusal", () => ({ error: "access_denied", state: "s1" })],
    ["nothing", () => ({})],
  ])("is not connected by a callback with %s", async (_, change) => {
    const { begun, finish } = await connect(await start());
    expect(await finish(change(await consent(begun.url)))).toMatchObject({ status: "failed", scopes: [] });
  });

  it("is not connected by the code of somebody else's link: the proof is another", async () => {
    const world = await start();
    const [mine, theirs] = [await connect(world), await connect(world)];
    expect(await mine.finish(await consent(theirs.begun.url))).toMatchObject({ status: "failed" });
  });

  it("is not connected twice by one callback", async () => {
    const { begun, finish } = await connect(await start());
    const query = await consent(begun.url);
    expect(await finish(query)).toMatchObject({ status: "active" });
    expect(await finish(query)).toMatchObject({ status: "failed" });
  });

  it("is renewed before its token ends, and expires where that is refused", async () => {
    const world = await start({ tokenSeconds: 60 });
    const account = await connected(world);
    const renewed = await mcpConnector.check(world.settings, depsOf(egress), account, soon());
    expect(renewed).toMatchObject({ status: "active" });
    expect(renewed.secret).toBeDefined();
    expect(renewed.secret).not.toBe(account.secret);
    const again = await mcpConnector.check(world.settings, depsOf(egress), account, soon());
    expect(again, "a refresh token is good once").toMatchObject({ status: "expired" });
  });

  it("is asked after at the server while its token is young, and stays as it is where nobody answers", async () => {
    const world = await start();
    const account = await connected(world);
    const check = () => mcpConnector.check(world.settings, depsOf(egress), account, soon());
    expect(await check()).toEqual({ status: "active" });
    world.auth.forgetTokens();
    expect(await check()).toEqual({ status: "expired" });
    await world.mcp.stop();
    running.splice(running.indexOf(world.mcp), 1);
    await expect(check()).rejects.toMatchObject({ code: "unavailable" });
  });

  it("is ended there too, with the client that was registered for it", async () => {
    const world = await start();
    const account = await connected(world);
    expect(world.auth.clients()).toBe(1);
    await mcpConnector.revoke(world.settings, depsOf(egress), account, soon());
    expect(world.auth.clients()).toBe(0);
    expect(await mcpConnector.check(world.settings, depsOf(egress), account, soon())).toEqual({ status: "expired" });
  });
});

describe("an authorization server that cannot be trusted", () => {
  const begin = async (options: Parameters<typeof start>[0]) => connect(await start(options));

  it.each([
    ["names another issuer", { metadata: { issuer: "https://elsewhere.example" } }],
    ["sends people to no web page", { metadata: { authorization_endpoint: "javascript:alert(1)" } }],
    ["knows no proof", { metadata: { code_challenge_methods_supported: ["plain"] } }],
    ["lets nobody register", { metadata: { registration_endpoint: undefined } }],
    ["is named for another server", { resource: "https://elsewhere.example/mcp" }],
  ])("is refused when it %s", async (_, options) => {
    await expect(begin(options)).rejects.toMatchObject({ code: "invalid_request" });
  });

  it("is not reached inside", async () => {
    const { settings } = await start();
    const deps = depsOf(createEgress({ allowLoopback: false }));
    const input = { ...OWNER, callbackUrl: CALLBACK, state: "s", label: null };
    await expect(mcpConnector.link(settings, deps, input, soon())).rejects.toMatchObject({ code: "unavailable" });
  });
});
