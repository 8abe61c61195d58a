/** Changes of people's accounts are on record in the tenants they are members of, and so is how a tenant began. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { listAuditLog } from "@agent-engine/core/audit/list-audit-log.ts";
import { createTenant } from "@agent-engine/core/tenancy/create-tenant.ts";
import type { AuditEntry } from "@agent-engine/protocol/audit-log.ts";
import type { Site } from "@agent-engine/protocol/administration.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { callAs, enroll, member, PASSWORD, person, signIn, trySignIn } from "./people-fixture.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let mails: MailServer;
beforeAll(async () => {
  mails = await startMailServer();
  fixture = await startServerFixture({
    accounts: { signUp: "open", mail: { smtpUrl: mails.url, from: "no-reply@example.com" } },
  });
});
afterAll(async () => {
  await fixture.stop();
  await mails.stop();
});

let requests = 0;

async function entriesOf(tenantId: TenantId, correlationId?: string): Promise<AuditEntry[]> {
  const ctx = { services: fixture.services, tenantId, actor: { kind: "worker" }, correlationId: "test" } as const;
  const { items } = await listAuditLog(ctx, { limit: 20, cursor: null }, {});
  return items.filter((entry) => correlationId === undefined || entry.correlationId === correlationId).toReversed();
}

/** A request to better-auth; answers its status and the entries that the demo tenant has of it. */
async function act(path: string, body: unknown, cookie?: string, method = "POST") {
  const requestId = `account-${++requests}`;
  const { status } = await call(fixture, method, `/api/auth${path}`, {
    ...(method === "POST" ? { body } : {}),
    headers: {
      origin: fixture.url,
      "x-request-id": requestId,
      "x-forwarded-for": "203.0.113.50",
      ...(cookie === undefined ? {} : { cookie }),
    },
  });
  return { status, entries: await entriesOf(fixture.demo.tenantId, requestId) };
}

async function tokenMailed(email: string, subject: RegExp): Promise<string> {
  const mail = await waitFor(() => mails.received.findLast(({ to, subject: of }) => to === email && subject.test(of)), {
    describe: `a mail to ${email}`,
  });
  return new URLSearchParams(/#(\S+)/.exec(mail.text)?.[1]).get("token") ?? "";
}

describe("on record in the tenant is that a member", () => {
  test("changed their password, and which sessions that ended", async () => {
    const { cookie, memberId, email } = await member(fixture, "viewer");
    await signIn(fixture, email);
    const newPassword = "another password";
    const wrong = { currentPassword: "not the password", newPassword };
    expect(await act("/change-password", wrong, cookie)).toEqual({ status: 400, entries: [] });
    const right = { currentPassword: PASSWORD, newPassword, revokeOtherSessions: true };
    const { status, entries } = await act("/change-password", right, cookie);
    expect(status).toBe(200);
    const by = {
      actor: { kind: "member", id: memberId },
      target: { kind: "member", id: memberId },
      ip: "203.0.113.50",
    };
    expect(entries).toMatchObject([
      { ...by, action: "member.password_changed", before: null, after: null },
      { ...by, action: "member.sessions_revoked", after: { sessions: 2 } },
    ]);
    expect(JSON.stringify(entries)).not.toContain(newPassword);
  });

  test("chose a new password by mail", async () => {
    const { memberId, email } = await member(fixture, "viewer");
    expect((await act("/request-password-reset", { email })).entries).toEqual([]);
    const token = await tokenMailed(email, /new password/i);
    const { status, entries } = await act("/reset-password", { token, newPassword: "another password" });
    expect([status, entries.map(({ action, target }) => [action, target.id])]).toEqual([
      200,
      [["member.password_reset", memberId]],
    ]);
    expect(JSON.stringify(entries)).not.toContain(token);
  });

  test("ended sessions; signing out and ending nobody's session are no changes", async () => {
    const { cookie, email } = await member(fixture, "viewer");
    const elsewhere = await signIn(fixture, email);
    const token = decodeURIComponent(elsewhere.split("=")[1] ?? "").split(".")[0];
    expect(await act("/revoke-session", { token: "nonsense" }, cookie)).toMatchObject({ entries: [] });
    expect(await act("/revoke-session", { token }, cookie)).toMatchObject({
      status: 200,
      entries: [{ action: "member.sessions_revoked", after: { sessions: 1 } }],
    });
    for (const _ of [1, 2]) await signIn(fixture, email);
    expect(await act("/revoke-other-sessions", {}, cookie)).toMatchObject({
      entries: [{ action: "member.sessions_revoked", after: { sessions: 2 } }],
    });
    expect(await act("/sign-out", {}, cookie)).toEqual({ status: 200, entries: [] });
  });

  test("has another name, and another address once it is confirmed", async () => {
    const { cookie, memberId, email } = await member(fixture, "viewer");
    expect(await act("/update-user", { name: "Ada L." }, cookie)).toMatchObject({
      entries: [{ action: "member.renamed", after: { name: "Ada L." }, target: { id: memberId } }],
    });
    const newEmail = `new-${email}`;
    expect((await act("/change-email", { newEmail }, cookie)).entries).toEqual([]);
    const first = await tokenMailed(email, /./);
    expect((await act(`/verify-email?token=${first}`, null, cookie, "GET")).entries).toEqual([]);
    const second = await tokenMailed(newEmail, /./);
    expect(await act(`/verify-email?token=${second}`, null, cookie, "GET")).toMatchObject({
      status: 200,
      entries: [{ action: "member.address_changed", before: { email }, after: { email: newEmail } }],
    });
  });

  test("is kept from signing in by too many wrong passwords: once in a while, and by nobody known", async () => {
    const { memberId, email } = await member(fixture, "viewer");
    for (let n = 0; n < 14; n++) await trySignIn(fixture, email, "wrong password");
    const held = (await entriesOf(fixture.demo.tenantId)).filter(({ action }) => action === "member.sign_in_held");
    expect(held).toMatchObject([
      { actor: { kind: "platform", id: null }, target: { id: memberId }, ip: expect.stringMatching(/^198\.18\./) },
    ]);
  });
});

test("a person of two tenants is on record in both, and one of none anywhere", async () => {
  const somebody = await person(fixture);
  const [one, other] = [fixture.demo.tenantId, fixture.other.tenantId];
  const members = [await enroll(fixture, one, somebody, "viewer"), await enroll(fixture, other, somebody, "owner")];
  const { entries } = await act("/update-user", { name: "Of both" }, somebody.cookie);
  const elsewhere = (await entriesOf(other)).filter(({ action }) => action === "member.renamed");
  expect([entries, elsewhere].map((each) => each.map(({ target }) => target.id))).toEqual(members.map((id) => [id]));
  const nobody = await person(fixture);
  expect(await act("/update-user", { name: "Of none" }, nobody.cookie)).toEqual({ status: 200, entries: [] });
});

test("a tenant's log begins with who made it", async () => {
  const { cookie } = await person(fixture);
  const made = await callAs<{ id: TenantId }>(fixture, { cookie }, "POST", "/v1/tenants", { body: { name: "Mine" } });
  const [first, second] = await entriesOf(made.body.id);
  expect(first).toMatchObject({ seq: 1, action: "tenant.created", actor: { kind: "member" }, after: { name: "Mine" } });
  expect(second).toMatchObject({ action: "member.joined", actor: first?.actor, after: { role: "owner" } });
  const { id } = await createTenant(fixture.services, { name: "By a command" });
  expect(await entriesOf(id)).toMatchObject([{ action: "tenant.created", actor: { kind: "platform" } }]);
});

test("which origins may embed a site is on record, before and after", async () => {
  const token = fixture.demo.secretKey;
  const body = { name: "Shop", agentId: fixture.demo.agentId, allowedOrigins: ["https://a.example"] };
  const site = (await call<Site>(fixture, "POST", "/v1/sites", { token, body })).body;
  await call(fixture, "PATCH", `/v1/sites/${site.id}`, { token, body: { allowedOrigins: ["https://b.example"] } });
  const entries = (await entriesOf(fixture.demo.tenantId)).filter(({ target }) => target.id === site.id);
  expect(entries).toMatchObject([
    { action: "site.created", after: { allowedOrigins: ["https://a.example"] } },
    {
      action: "site.updated",
      before: { allowedOrigins: ["https://a.example"] },
      after: { allowedOrigins: ["https://b.example"] },
    },
  ]);
});
