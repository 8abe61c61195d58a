import { afterAll, beforeAll, expect, test } from "vitest";
import type { Member, NewApiKey, Site } from "@agent-engine/protocol/administration.ts";
import { listAuditLog } from "@agent-engine/core/audit/list-audit-log.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { callAs, member, PASSWORD } from "./people-fixture.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let mails: MailServer;
beforeAll(async () => {
  mails = await startMailServer();
  fixture = await startServerFixture({ accounts: { mail: { smtpUrl: mails.url, from: "no-reply@example.com" } } });
});
afterAll(async () => {
  await fixture.stop();
  await mails.stop();
});

test("who changes people, keys or sites is on record, with what changed, from where, and no secret", async () => {
  const owner = await member(fixture, "owner");
  const headers = { "x-request-id": "the-request", "x-forwarded-for": "203.0.113.9" };
  const act = async <T>(method: string, path: string, body?: unknown) =>
    (await callAs<T>(fixture, owner, method, path, { ...(body === undefined ? {} : { body }), headers })).body;

  const invited = await act<Member>("POST", "/v1/members", { email: "ada@acme.example", role: "viewer" });
  await waitFor(() => mails.received.length === 1, { describe: "the invitation" });
  const token = new URLSearchParams(/#(\S+)/.exec(mails.received[0]?.text ?? "")?.[1]).get("token") ?? "";
  await call(fixture, "POST", "/v1/invitations/accept", { body: { token, name: "Ada", password: PASSWORD }, headers });
  await act("PATCH", `/v1/members/${invited.id}`, { role: "operator" });
  await act("DELETE", `/v1/members/${invited.id}`);
  const key = await act<NewApiKey>("POST", "/v1/api-keys", { name: "CI", scopes: ["agents:read"] });
  const rotated = await act<NewApiKey>("POST", `/v1/api-keys/${key.id}/rotate`, { overlapSeconds: 60 });
  await act("DELETE", `/v1/api-keys/${key.id}`);
  const site = await act<Site>("POST", "/v1/sites", { name: "Shop", agentId: fixture.demo.agentId });
  await act("PATCH", `/v1/sites/${site.id}`, { name: "Store" });
  await act("POST", `/v1/sites/${site.id}/rotate`, {});
  await act("DELETE", `/v1/sites/${site.id}`);

  const ctx: Ctx = {
    services: fixture.services,
    tenantId: fixture.demo.tenantId,
    actor: { kind: "worker" },
    correlationId: "test",
  };
  const { items } = await listAuditLog(ctx, { limit: 11, cursor: null }, {});
  const entries = items.toReversed();
  expect(entries.map(({ action, target }) => [action, target.id])).toEqual([
    ["member.invited", invited.id],
    ["member.joined", invited.id],
    ["member.role_changed", invited.id],
    ["member.removed", invited.id],
    ["api_key.created", key.id],
    ["api_key.rotated", key.id],
    ["api_key.revoked", key.id],
    ["site.created", site.id],
    ["site.updated", site.id],
    ["site.key_rotated", site.id],
    ["site.deleted", site.id],
  ]);
  for (const { action, actor, correlationId, ip } of entries) {
    const by = action === "member.joined" ? invited.id : owner.memberId;
    expect([action, actor, correlationId, ip]).toEqual([
      action,
      { kind: "member", id: by },
      "the-request",
      "203.0.113.9",
    ]);
  }
  expect(entries[2]).toMatchObject({ before: { role: "viewer" }, after: { role: "operator" } });
  expect(entries[8]).toMatchObject({ before: { name: "Shop" }, after: { name: "Store" } });
  const text = JSON.stringify(entries);
  for (const secret of [token, PASSWORD, key.key, rotated.key]) expect(text).not.toContain(secret);
});
