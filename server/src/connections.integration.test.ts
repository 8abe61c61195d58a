/** Accounts that a tenant connects, at a Composio over a real wire; the browser's part by hand. */
import type { Connection, ConnectionLink, InstalledToolkit, Tool, ToolTest } from "@agent-engine/protocol/toolkits.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { startComposioServer, type ComposioServer } from "@agent-engine/testing/composio-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { call, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let composio: ComposioServer;
let fixture: ServerFixture;
let toolkit: InstalledToolkit;
let tool: Tool;

beforeAll(async () => {
  composio = await startComposioServer({ toolkits: 10 });
  const { apiKey, url: baseUrl } = composio;
  fixture = await startServerFixture({ composio: { apiKey, baseUrl, webhookSecret: null } });
  toolkit = await install("gmail");
  const { items } = (await ask<Page<Tool>>("GET", `/v1/tools?toolkitId=${toolkit.id}`)).body;
  tool = items.find(({ remote }) => remote === "GMAIL_FETCH_EMAILS") as Tool;
});
afterAll(async () => {
  await fixture.stop();
  await composio.stop();
});

const ask = <T>(method: string, path: string, body?: unknown, token = fixture.demo.secretKey) =>
  call<T>(fixture, method, path, { token, ...(body === undefined ? {} : { body }) });

async function install(name: string): Promise<InstalledToolkit> {
  const settings = { toolkit: "gmail", connections: "tenant" };
  const { status, body } = await ask<InstalledToolkit>("POST", "/v1/toolkits", { kind: "composio", name, settings });
  expect([status, body.problems]).toEqual([201, []]);
  return body;
}

const link = async (more: Record<string, unknown> = {}): Promise<ConnectionLink> => {
  const answer = await ask<ConnectionLink>("POST", "/v1/connections/link", { toolkitId: toolkit.id, ...more });
  expect([answer.status, answer.body]).toMatchObject([201, { connectionId: expect.stringMatching(/^conn_/) }]);
  return answer.body;
};

/** The browser's way to the provider: where it was sent, and the cookie that it holds from then on. */
async function start(url: string): Promise<{ status: number; location: string; cookie: string }> {
  const response = await fetch(url, { redirect: "manual" });
  await response.body?.cancel();
  const cookie = response.headers.getSetCookie()[0]?.split(";")[0] ?? "";
  return { status: response.status, location: response.headers.get("location") ?? "", cookie };
}

/** Decides at the provider; where that sends the browser back to. */
async function decide(location: string, decision: "allow" | "deny"): Promise<string> {
  const response = await fetch(location, {
    method: "POST",
    redirect: "manual",
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: `decision=${decision}`,
  });
  await response.body?.cancel();
  return response.headers.get("location") ?? "";
}

async function comeBack(url: string, cookie: string): Promise<[number, string]> {
  const response = await fetch(url, { headers: cookie === "" ? {} : { cookie } });
  return [response.status, /<h1>(.*?)<\/h1>/.exec(await response.text())?.[1] ?? ""];
}

async function connect(more: Record<string, unknown> = {}): Promise<Connection> {
  const { url, connectionId } = await link(more);
  const { location, cookie } = await start(url);
  expect(await comeBack(await decide(location, "allow"), cookie)).toEqual([200, "gmail is connected"]);
  return (await ask<Connection>("GET", `/v1/connections/${connectionId}`)).body;
}

const UNKNOWN = [410, "This link is no longer good"];

test("an account is connected by a link, tried, checked, and disconnected at the other side too", async () => {
  const connection = await connect({ label: "Support" });
  expect(connection).toMatchObject({ status: "active", label: "Support", isDefault: true, visitorId: null });
  expect(JSON.stringify(connection)).not.toContain("connectedAccountId");
  const tried = await ask<ToolTest>("POST", `/v1/tools/${tool.id}/test`, { arguments: {} });
  expect([tried.status, tried.body]).toMatchObject([200, { ok: true, failure: null }]);
  const [account] = composio.ledger.slice(-1).map(({ connectedAccountId }) => connectedAccountId);
  expect((await ask("DELETE", `/v1/toolkits/${toolkit.id}`)).status).toBe(409);

  expect((await ask("DELETE", `/v1/connections/${connection.id}`)).status).toBe(204);
  expect(composio.revoked).toContain(account);
  expect((await ask("GET", `/v1/connections/${connection.id}`)).status).toBe(404);
  const again = await ask<ToolTest>("POST", `/v1/tools/${tool.id}/test`, { arguments: {} });
  expect(again.status).toBe(400);
});

test("several accounts: the first is the default one until another is chosen", async () => {
  const first = await connect({ label: "One" });
  const second = await connect({ label: "Two" });
  expect([first.isDefault, second.isDefault]).toEqual([true, false]);
  await ask("PATCH", `/v1/connections/${second.id}`, { isDefault: true });
  const { items } = (await ask<Page<Connection>>("GET", `/v1/connections?toolkitId=${toolkit.id}`)).body;
  expect(items.map(({ label, isDefault }) => [label, isDefault])).toEqual([
    ["Two", true],
    ["One", false],
  ]);
  for (const { id } of items) await ask("DELETE", `/v1/connections/${id}`);
});

test("an account that somebody began to connect and left is not the default one once another works", async () => {
  const left = await link({ label: "Left" });
  const works = await connect({ label: "Works" });
  expect(works).toMatchObject({ isDefault: true, status: "active" });
  const tried = await ask<ToolTest>("POST", `/v1/tools/${tool.id}/test`, { arguments: {} });
  expect([tried.status, tried.body]).toMatchObject([200, { ok: true }]);
  const { items } = (await ask<Page<Connection>>("GET", `/v1/connections?toolkitId=${toolkit.id}`)).body;
  expect(items.map(({ id, isDefault }) => [id, isDefault])).toEqual([
    [works.id, true],
    [left.connectionId, false],
  ]);
  for (const { id } of items) await ask("DELETE", `/v1/connections/${id}`);
});

test("of two accounts that begin to work at the same moment one becomes the default one", async () => {
  const left = await link({ label: "Left" });
  const backs = await Promise.all(
    ["One", "Two"].map(async (label) => {
      const { location, cookie } = await start((await link({ label })).url);
      return { url: await decide(location, "allow"), cookie };
    }),
  );
  const owner = new pg.Client({ connectionString: fixture.ownerUrl });
  await owner.connect();
  try {
    await owner.query("begin");
    await owner.query("select 1 from connections where id = $1 for update", [uuidOf(left.connectionId)]);
    const returning = Promise.all(backs.map(({ url, cookie }) => comeBack(url, cookie)));
    await waitFor(
      async () => {
        const { rows } = await owner.query<{ count: number }>(
          "select count(*)::int as count from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
        );
        return rows[0]?.count === 2;
      },
      { describe: "both to wait for the account that was left" },
    );
    await owner.query("commit");
    expect(await returning).toEqual(backs.map(() => [200, "gmail is connected"]));
  } finally {
    await owner.end();
  }
  const { items } = (await ask<Page<Connection>>("GET", `/v1/connections?toolkitId=${toolkit.id}`)).body;
  expect(items.map(({ status, isDefault }) => `${status} ${isDefault}`).toSorted()).toEqual([
    "active false",
    "active true",
    "initiated false",
  ]);
  for (const { id } of items) await ask("DELETE", `/v1/connections/${id}`);
});

test("where the provider does not answer nothing is begun, and nothing is left of it", async () => {
  const gone = await install("gone");
  composio.enqueueFaults("link.create", { kind: "error", when: "before", status: 500 });
  const before = (await ask<Page<Connection>>("GET", "/v1/connections?limit=100")).body.items.length;
  const { status } = await ask("POST", "/v1/connections/link", { toolkitId: gone.id });
  expect(status).toBe(503);
  expect((await ask<Page<Connection>>("GET", "/v1/connections?limit=100")).body.items).toHaveLength(before);
});

describe("what a browser brings back counts for nothing", () => {
  test("when the link was never made, or was used before", async () => {
    const { url } = await link();
    const { location, cookie } = await start(url);
    expect((await start(url)).status).toBe(410);
    const back = await decide(location, "allow");
    expect(await comeBack(back.replace(/state=[^&]+/, "state=forged"), cookie)).toEqual(UNKNOWN);
    expect((await comeBack(back, cookie))[0]).toBe(200);
    expect(await comeBack(back, cookie)).toEqual(UNKNOWN);
  });

  test("when another browser brings it", async () => {
    const { url } = await link();
    const { location } = await start(url);
    const back = await decide(location, "allow");
    const other = await start((await link()).url);
    expect(await comeBack(back, "")).toEqual(UNKNOWN);
    expect(await comeBack(back, other.cookie)).toEqual(UNKNOWN);
  });

  test("when the provider was told no, or never asked", async () => {
    for (const decision of ["deny", "never"] as const) {
      const { url, connectionId } = await link();
      const { location, cookie } = await start(url);
      const state = /state=([^&]+)/.exec(await (decision === "deny" ? decide(location, "deny") : url));
      const back = `${fixture.url}/v1/connections/callback?status=success&connected_account_id=ca_other&state=${state?.[1]}`;
      expect(await comeBack(back, cookie)).toEqual([200, "gmail was not connected"]);
      expect((await ask<Connection>("GET", `/v1/connections/${connectionId}`)).body.status).toBe("failed");
    }
  }, 60_000);
});

test("nobody else links, reads or ends an account: not a visitor, not another tenant", async () => {
  const connection = await connect();
  const { visitorToken } = await visit(fixture, fixture.demo);
  for (const token of [visitorToken, fixture.other.secretKey]) {
    const asked = [
      await ask("POST", "/v1/connections/link", { toolkitId: toolkit.id }, token),
      await ask("DELETE", `/v1/connections/${connection.id}`, undefined, token),
    ];
    expect(asked.map(({ status }) => status)).toEqual([404, 404]);
  }
  expect((await ask<Page<Connection>>("GET", "/v1/connections", undefined, visitorToken)).body.items).toEqual([]);
});
