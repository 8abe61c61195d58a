import { describe, expect, test } from "vitest";
import type { ConnectedAccount } from "../toolkit-kind.ts";
import { composioFixture, OWNER, unhurried } from "./composio-fixture.ts";
import { composioConnector } from "./composio-connector.ts";
import type { ComposioSettings } from "./composio-settings.ts";

const composio = composioFixture();
const settings: ComposioSettings = { toolkit: "gmail", connections: "visitor" };
const VISITOR = "tenant:t1:visitor:v1";
const CALLBACK = "https://engine.example/v1/connections/callback";

async function begin(ownerKey = VISITOR, own: ComposioSettings = settings) {
  const input = { ownerKey, callbackUrl: CALLBACK, state: "s-1", label: null };
  const begun = await composioConnector.link(own, composio.deps(), input, unhurried());
  return { ...begun, owner: { ownerKey, account: begun.account, secret: null } };
}

/** A person decides on the consent page; what the callback then carries. */
async function decide(url: string, decision: "allow" | "deny"): Promise<Record<string, string>> {
  const body = new URLSearchParams({ decision });
  const answer = await fetch(url, { method: "POST", body, redirect: "manual" });
  return Object.fromEntries(new URL(answer.headers.get("location") ?? "").searchParams);
}

const complete = (owner: ConnectedAccount, query: Record<string, string>, own = settings) =>
  composioConnector.complete(
    own,
    composio.deps(),
    { ...owner, query, callbackUrl: CALLBACK, state: "s-1" },
    unhurried(),
  );

describe("a link", () => {
  test("leads to the consent page and back with its state, and expires", async () => {
    const { url, expiresAt, account, owner } = await begin();
    expect(Date.parse(expiresAt ?? "")).toBeGreaterThan(Date.now());
    const query = await decide(url, "allow");
    expect(query).toMatchObject({ state: "s-1", status: "success", connected_account_id: account.connectedAccountId });
    expect(await complete(owner, query)).toMatchObject({ status: "active", account, scopes: ["mail"] });
  });

  test("is sent once, also when Composio is not well: whoever asked may ask again", async () => {
    composio.server().enqueueFaults("link.create", { kind: "error", when: "after", status: 500 });
    const before = composio.server().requests.length;
    await expect(begin()).rejects.toThrow();
    const links = composio
      .server()
      .requests.slice(before)
      .filter(({ route }) => route === "link.create");
    expect(links).toHaveLength(1);
  });

  test("uses Composio's own sign-in, made once; or the named one", async () => {
    const slack: ComposioSettings = { ...settings, toolkit: "slack" };
    const first = await begin(VISITOR, slack);
    const second = await begin(VISITOR, slack);
    expect(second.account.authConfigId).toBe(first.account.authConfigId);
    const own = composio.server().accounts.addConfig("slack", "OAUTH2", false);
    const third = await begin(VISITOR, { ...slack, authConfigId: own.id });
    expect(third.account.authConfigId).toBe(own.id);
  });

  test("without a sign-in that Composio manages says what to do", async () => {
    await expect(begin(VISITOR, { ...settings, toolkit: "oddities" })).rejects.toMatchObject({
      code: "invalid_request",
      detail: expect.stringContaining("authConfigId"),
    });
  });
});

describe("a callback", () => {
  test("of somebody who declined", async () => {
    const { url, owner } = await begin();
    expect(await complete(owner, await decide(url, "deny"))).toMatchObject({ status: "failed" });
  });

  test("that claims a success which never was", async () => {
    const { owner } = await begin();
    const query = { status: "failed", connected_account_id: String(owner.account.connectedAccountId) };
    expect(await complete(owner, query)).toMatchObject({ status: "failed" });
  });

  test("that names another account", async () => {
    const { url, owner } = await begin();
    await decide(url, "allow");
    const others = composio.server().connect({ toolkit: "gmail", userId: "tenant:t2" });
    expect(await complete(owner, { status: "success", connected_account_id: others })).toMatchObject({
      status: "failed",
    });
  });

  test("for an account that is another owner's", async () => {
    const { url, owner } = await begin();
    const query = await decide(url, "allow");
    for (const ownerKey of [OWNER, "tenant:t1:visitor:v2"]) {
      expect(await complete({ ...owner, ownerKey }, query)).toMatchObject({ status: "failed" });
    }
  });

  test("that is faster than Composio is asked again until it is settled", async () => {
    const { url, owner, account } = await begin();
    const query = await decide(url, "allow");
    const kept = composio.server().accounts.account(String(account.connectedAccountId));
    kept.status = "INITIATED";
    const before = composio.server().requests.length;
    const completing = complete(owner, query);
    await expect.poll(() => composio.server().requests.length).toBeGreaterThan(before);
    kept.status = "ACTIVE";
    expect(await completing).toMatchObject({ status: "active" });
  });
});

describe("an account that is connected", () => {
  const account = (
    ownerKey: string,
    status: "ACTIVE" | "EXPIRED" | "REVOKED" | "INACTIVE" = "ACTIVE",
  ): ConnectedAccount => ({
    ownerKey,
    account: { connectedAccountId: composio.server().connect({ toolkit: "gmail", userId: ownerKey, status }) },
    secret: null,
  });
  const check = (owner: ConnectedAccount) => composioConnector.check(settings, composio.deps(), owner, unhurried());

  test("is asked about by its owner's name", async () => {
    expect(await check(account(OWNER))).toEqual({ status: "active" });
    expect(await check(account(OWNER, "EXPIRED"))).toEqual({ status: "expired" });
    expect(await check(account(OWNER, "REVOKED"))).toEqual({ status: "revoked" });
    expect(await check(account(OWNER, "INACTIVE"))).toEqual({ status: "failed" });
    expect(await check({ ...account(OWNER), ownerKey: VISITOR })).toEqual({ status: "revoked" });
  });

  test("is not called ended when Composio does not answer", async () => {
    composio.server().enqueueFaults("accounts.list", { kind: "error", when: "before", status: 503 });
    await expect(check(account(OWNER))).rejects.toThrow();
  });

  test("ends at the provider too, once and only for its owner", async () => {
    const owner = account(OWNER);
    const id = String(owner.account.connectedAccountId);
    const revoke = (of: ConnectedAccount) => composioConnector.revoke(settings, composio.deps(), of, unhurried());
    await revoke({ ...owner, ownerKey: VISITOR });
    expect(composio.server().revoked).not.toContain(id);
    await revoke(owner);
    await revoke(owner);
    expect(composio.server().revoked.filter((revoked) => revoked === id)).toHaveLength(1);
    expect(await check(owner)).toEqual({ status: "revoked" });
  });
});
