import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Invitation, Me, Member, Role } from "@agent-engine/protocol/administration.ts";
import type { Page, Problem } from "@agent-engine/protocol/resources.ts";
import { createMailer } from "@agent-engine/core/mail/mailer.ts";
import { startMailServer, type MailServer } from "@agent-engine/testing/mail-server.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { createTenant } from "@agent-engine/core/tenancy/create-tenant.ts";
import { setUpTenant } from "@agent-engine/core/tenancy/set-up-tenant.ts";
import { agentConfig } from "@agent-engine/protocol/schemas/requests.ts";
import {
  callAs,
  enroll,
  member,
  PASSWORD,
  person,
  signIn,
  trySignIn,
  type MemberFixture,
  type Person,
} from "./people-fixture.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

const CONSOLE = "https://console.example";

let fixture: ServerFixture;
let mails: MailServer;
let owner: MemberFixture;
let admin: MemberFixture;
beforeAll(async () => {
  mails = await startMailServer();
  fixture = await startServerFixture({
    accounts: { consoleUrl: CONSOLE, mail: { smtpUrl: mails.url, from: "Agent Engine <no-reply@example.com>" } },
  });
  owner = await member(fixture, "owner");
  admin = await member(fixture, "admin");
});
afterAll(async () => {
  await fixture.stop();
  await mails.stop();
});

/** A member, or why not. */
type Answered = Member & Pick<Problem, "detail">;

const invite = (by: { cookie: string }, email: string, role: Role = "viewer") =>
  callAs<Answered>(fixture, by, "POST", "/v1/members", { body: { email, role } });

/** The token of the newest invitation that arrived there, which must be the n-th. */
async function tokenFor(email: string, count = 1): Promise<string> {
  const all = () => mails.received.filter((mail) => mail.to === email);
  await waitFor(() => all().length === count, { describe: `${count} mails to ${email}` });
  const link = new URL(/https:\S+/.exec(all().at(-1)?.text ?? "")?.[0] ?? "");
  expect([link.origin, link.pathname, link.search]).toEqual([CONSOLE, "/invitation", ""]);
  return new URLSearchParams(link.hash.slice(1)).get("token") ?? "";
}

const accept = (body: unknown, cookie?: string) =>
  call<Answered>(fixture, "POST", "/v1/invitations/accept", {
    body,
    headers: cookie === undefined ? {} : { cookie, origin: fixture.url },
  });

describe("an invitation", () => {
  test("becomes a member with a new account, once", async () => {
    const invited = await invite(owner, "  New.Person@Example.com ", "operator");
    expect([invited.status, invited.body]).toEqual([
      201,
      expect.objectContaining({ email: "new.person@example.com", role: "operator", status: "invited", joinedAt: null }),
    ]);
    expect(JSON.stringify(invited.body)).not.toMatch(/token|hash/i);
    const token = await tokenFor("new.person@example.com");
    const read = await call<Invitation>(fixture, "POST", "/v1/invitations/read", { body: { token } });
    expect(read.body).toMatchObject({
      tenant: { id: fixture.demo.tenantId },
      email: "new.person@example.com",
      role: "operator",
      hasAccount: false,
    });
    expect((await accept({ token })).status).toBe(400);
    expect((await accept({ token, name: "New", password: "short" })).status).toBe(400);
    const accepted = await accept({ token, name: "New Person", password: PASSWORD });
    expect([accepted.status, accepted.body]).toEqual([
      200,
      expect.objectContaining({ id: invited.body.id, name: "New Person", status: "active", invitationExpiresAt: null }),
    ]);
    expect((await accept({ token, name: "Again", password: PASSWORD })).status).toBe(404);
    const cookie = await signIn(fixture, "new.person@example.com");
    expect((await callAs<Me>(fixture, { cookie }, "GET", "/v1/me")).body.member?.role).toBe("operator");
  });

  test("lets somebody of another tenant in, once they are signed in as who was invited", async () => {
    const somebody = await person(fixture);
    await enroll(fixture, fixture.other.tenantId, somebody, "owner");
    await invite(owner, somebody.email, "admin");
    const token = await tokenFor(somebody.email);
    const read = await call<Invitation>(fixture, "POST", "/v1/invitations/read", { body: { token } });
    expect(read.body.hasAccount).toBe(true);
    // Not with a password of somebody's choosing: that would be a way into their account.
    expect((await accept({ token, name: "Thief", password: PASSWORD })).status).toBe(401);
    const wrong = await accept({ token }, admin.cookie);
    expect([wrong.status, wrong.body.detail]).toEqual([403, expect.stringContaining("another address")]);
    expect((await accept({ token }, somebody.cookie)).status).toBe(200);
    const { body } = await callAs<Me>(fixture, somebody, "GET", "/v1/me");
    expect(Object.fromEntries(body.tenants.map(({ id, role }) => [id, role]))).toEqual({
      [fixture.demo.tenantId]: "admin",
      [fixture.other.tenantId]: "owner",
    });
  });

  test("made again voids the first; withdrawn or run out, it is gone", async () => {
    const email = "twice@example.com";
    const { body: first } = await invite(owner, email, "viewer");
    const voided = await tokenFor(email);
    const { body: second } = await invite(owner, email, "operator");
    expect([second.id, second.role]).toEqual([first.id, "operator"]);
    const token = await tokenFor(email, 2);
    const read = (value: string) => call(fixture, "POST", "/v1/invitations/read", { body: { token: value } });
    expect([(await read(voided)).status, (await read(token)).status]).toEqual([404, 200]);
    expect((await callAs(fixture, owner, "DELETE", `/v1/members/${first.id}`)).status).toBe(204);
    expect((await read(token)).status).toBe(404);

    await invite(owner, "late@example.com");
    const late = await tokenFor("late@example.com");
    // As if it had been sent eight days ago.
    const { services } = fixture;
    const { clock } = services;
    services.clock = () => clock() - 8 * 86_400_000;
    await invite(owner, "late@example.com");
    services.clock = clock;
    expect((await read(await tokenFor("late@example.com", 2))).status).toBe(404);
    expect((await read(late)).status).toBe(404);
    expect((await read("")).status).toBe(400);
    expect((await accept({ token: "x".repeat(43), name: "X", password: PASSWORD })).status).toBe(404);
  });

  test("takes an account that was never verified from whoever made it", async () => {
    const email = "prepared@example.com";
    const pool = fixture.services.accounts.pool();
    await pool.query(
      `insert into "user" ("id", "name", "email", "emailVerified") values ('user_1', 'Squatter', $1, false)`,
      [email],
    );
    await pool.query(
      `insert into "account" ("id", "accountId", "providerId", "userId", "password", "updatedAt")
       values ('account_1', 'user_1', 'credential', 'user_1', 'squatted', now())`,
    );
    await invite(owner, email);
    const token = await tokenFor(email);
    expect((await accept({ token, name: "Rightful", password: PASSWORD })).status).toBe(200);
    const { rows } = await pool.query(`select "password" from "account" where "userId" = 'user_1'`);
    expect(rows).toHaveLength(1);
    expect(rows[0].password).not.toBe("squatted");
    expect((await trySignIn(fixture, email, PASSWORD)).status).toBe(200);
  });

  test("of a member, of nobody, or beyond one's own role is refused", async () => {
    const answers = [
      [await invite(owner, admin.email), 409],
      [await invite(owner, "no address"), 400],
      [await invite(owner, "a@b.example", "god" as Role), 400],
      [await invite(admin, "boss@example.com", "owner"), 403],
    ] as const;
    for (const [{ status, body }, expected] of answers) expect([body.detail, status]).toEqual([body.detail, expected]);
    const { secretKey } = fixture.demo;
    const byKey = await call(fixture, "POST", "/v1/members", {
      token: secretKey,
      body: { email: "boss@example.com", role: "owner" },
    });
    expect(byKey.status).toBe(201);
    // Nor may an admin quietly make less of it.
    expect((await invite(admin, "boss@example.com", "viewer")).status).toBe(403);
  });

  test("is mailed once when its request is repeated with the same key", async () => {
    const request = () =>
      callAs<Member>(fixture, owner, "POST", "/v1/members", {
        body: { email: "once@example.com", role: "viewer" },
        headers: { "idempotency-key": "invite-once" },
      });
    const [first, again] = [await request(), await request()];
    expect(again.body).toEqual(first.body);
    expect(again.headers.get("idempotency-replayed")).toBe("true");
    await tokenFor("once@example.com", 1);
  });
});

describe("mail", () => {
  test("that is put off is sent a little later; one that is refused is given up, and the log does not say to whom", async () => {
    const mailer = createMailer({
      mail: { smtpUrl: mails.url, from: "no-reply@example.com" },
      nodeEnv: "production",
      log: fixture.services.log,
      retryDelaysMs: [1, 1],
    });
    const mail = {
      to: "retry@example.com",
      subject: "Tried",
      text: "a",
      link: "https://x.example/#token=t",
      footer: "b",
    };
    mails.refuseNext("450 come back", "451 not now");
    mailer.send(mail);
    await waitFor(() => mails.received.some(({ to }) => to === mail.to), { describe: "the third attempt" });
    const before = mails.attempts();
    mails.refuseNext("550 no such person <retry@example.com>");
    mailer.send({ ...mail, subject: "Refused" });
    await mailer.close();
    expect(mails.attempts()).toBe(before + 1);
    const line = fixture.logged.find(({ msg, subject }) => msg === "a mail could not be sent" && subject === "Refused");
    expect(line).toBeDefined();
    expect(JSON.stringify(line)).not.toContain("retry@example.com");
  });

  test("that cannot be sent at all in production is said so instead of inviting; in development it is in the log", async () => {
    const production = await startServerFixture({ accounts: { nodeEnv: "production" } });
    const development = await startServerFixture();
    try {
      const body = { email: "somebody@example.com", role: "viewer" };
      const refused = await call(production, "POST", "/v1/members", { token: production.demo.secretKey, body });
      expect([refused.status, refused.body.detail]).toEqual([409, expect.stringContaining("SMTP_URL")]);
      const listed = await call<Page<Member>>(production, "GET", "/v1/members", { token: production.demo.secretKey });
      expect(listed.body.items).toEqual([]);
      await call(development, "POST", "/v1/members", { token: development.demo.secretKey, body });
      const line = development.logged.find(({ msg }) => String(msg).startsWith("mail to somebody@example.com"));
      expect(String(line?.["msg"])).toMatch(/http:\/\/localhost:3001\/invitation#token=[\w-]{43}$/);
    } finally {
      await Promise.all([production.stop(), development.stop()]);
    }
  });
});

describe("roles", () => {
  test("are changed by admins, but an owner is the owners' business", async () => {
    const viewer = await member(fixture, "viewer");
    const patch = (by: { cookie: string }, id: string, role: string) =>
      callAs<Answered>(fixture, by, "PATCH", `/v1/members/${id}`, { body: { role } });
    expect((await patch(admin, viewer.memberId, "operator")).body.role).toBe("operator");
    expect((await patch(admin, viewer.memberId, "owner")).status).toBe(403);
    expect((await patch(admin, owner.memberId, "viewer")).status).toBe(403);
    expect((await callAs(fixture, admin, "DELETE", `/v1/members/${owner.memberId}`)).status).toBe(403);
    expect((await patch(owner, viewer.memberId, "owner")).body.role).toBe("owner");
    expect((await patch(owner, viewer.memberId, "viewer")).body.role).toBe("viewer");
  });

  test("and members of another tenant are as missing as those that never were", async () => {
    const stranger = await member(fixture, "viewer", fixture.other.tenantId);
    const missing = "member_00000000000000000000000000000000";
    const answers = await Promise.all(
      [stranger.memberId, missing, "x", fixture.demo.tenantId].flatMap((id) => [
        callAs<Problem>(fixture, owner, "PATCH", `/v1/members/${id}`, { body: { role: "viewer" } }),
        callAs<Problem>(fixture, owner, "DELETE", `/v1/members/${id}`),
      ]),
    );
    const shown = answers.map(({ status, body }) => JSON.stringify([status, { ...body, requestId: "" }]));
    expect(new Set(shown).size).toBe(1);
    expect(answers[0]?.status).toBe(404);
    const { body } = await callAs<Page<Member>>(fixture, owner, "GET", "/v1/members?limit=100");
    expect(body.items.map(({ id }) => id)).not.toContain(stranger.memberId);
  });

  test("list page by page, newest first", async () => {
    const all = await callAs<Page<Member>>(fixture, owner, "GET", "/v1/members?limit=100");
    const first = await callAs<Page<Member>>(fixture, owner, "GET", "/v1/members?limit=2");
    const next = await callAs<Page<Member>>(
      fixture,
      owner,
      "GET",
      `/v1/members?limit=2&cursor=${first.body.nextCursor}`,
    );
    expect([...first.body.items, ...next.body.items]).toEqual(all.body.items.slice(0, 4));
    expect((await callAs(fixture, owner, "GET", "/v1/members?cursor=site_1")).status).toBe(400);
  });
});

describe("the last owner", () => {
  const settings = { agent: { name: "A", config: agentConfig.parse({}) }, site: { name: "S", allowedOrigins: [] } };
  const newTenant = () => setUpTenant(fixture.services, { name: "Of two", ...settings });

  test("stays one, whoever asks", async () => {
    const { tenantId, secretKey } = await newTenant();
    const only = await member(fixture, "owner", tenantId);
    // Who has not accepted yet owns nothing.
    await call(fixture, "POST", "/v1/members", {
      token: secretKey,
      body: { email: "heir@example.com", role: "owner" },
    });
    const path = `/v1/members/${only.memberId}`;
    for (const answer of [
      await callAs<Problem>(fixture, only, "PATCH", path, { body: { role: "admin" } }),
      await callAs<Problem>(fixture, only, "DELETE", path),
      await call(fixture, "DELETE", path, { token: secretKey }),
    ]) {
      expect([answer.status, answer.body.detail]).toEqual([409, expect.stringContaining("last owner")]);
    }
    expect((await callAs<Member>(fixture, only, "PATCH", path, { body: { role: "owner" } })).status).toBe(200);
  });

  test("is left when two demote or remove each other at the same moment, fifty times", async () => {
    const [a, b] = [await person(fixture), await person(fixture)];
    for (let round = 0; round < 50; round++) {
      const { id: tenantId } = await createTenant(fixture.services, { name: `Of two, ${round}` });
      const ids = [await enroll(fixture, tenantId, a, "owner"), await enroll(fixture, tenantId, b, "owner")] as const;
      const act = (by: Person, on: string) =>
        callAs(fixture, by, round % 2 === 0 ? "PATCH" : "DELETE", `/v1/members/${on}`, {
          headers: { "x-tenant-id": tenantId },
          ...(round % 2 === 0 ? { body: { role: "viewer" } } : {}),
        });
      await Promise.all([act(a, ids[1]), act(b, ids[0])]);
      const owners = await inTenant(fixture.services.db, tenantId, (tx) =>
        tx.query({ name: "test_owners", text: "select id from members where role = 'owner'" }, []),
      );
      expect([round, owners.length]).toEqual([round, 1]);
    }
  });
});

describe("an account that changes its address", () => {
  test("is shown by the new one in every tenant, after both mailboxes agreed", async () => {
    const somebody = await member(fixture, "viewer");
    const newEmail = "renamed@example.com";
    await invite(owner, newEmail);
    const asked = await callAs(fixture, somebody, "POST", "/api/auth/change-email", { body: { newEmail } });
    expect(asked.status).toBe(200);
    const follow = async (address: string, subject: RegExp) => {
      const find = () => mails.received.findLast((mail) => mail.to === address && subject.test(mail.subject));
      const mail = await waitFor(find, { describe: `a mail to ${address}` });
      const link = new URL(/https?:\S+/.exec(mail.text)?.[0] ?? "");
      const token = new URLSearchParams(link.hash.slice(1)).get("token");
      expect((await call(fixture, "GET", `/api/auth/verify-email?token=${token}`)).status).toBe(200);
    };
    await follow(somebody.email, /new e-mail address/);
    await follow(newEmail, /Confirm your e-mail/);
    const { body } = await callAs<Page<Member>>(fixture, owner, "GET", "/v1/members?limit=100");
    expect(body.items.filter(({ email }) => email === newEmail)).toEqual([
      expect.objectContaining({ id: somebody.memberId, status: "active" }),
    ]);
  });
});
