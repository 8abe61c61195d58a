/** Visitors whom the customer's own server vouches for, over the wire. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Conversation, Page, Problem, VisitorSession } from "@agent-engine/protocol/resources.ts";
import type { Site } from "@agent-engine/protocol/administration.ts";
import type { NewIdentitySecret, SiteIdentity, VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import { signIdentity, startCustomerServer, type CustomerServer } from "@agent-engine/testing/customer-server.ts";
import {
  call,
  converse,
  ORIGIN,
  say,
  startServerFixture,
  visit,
  type Answer,
  type ServerFixture,
} from "./server-fixture.ts";

let fixture: ServerFixture;
let customer: CustomerServer;
let secret: string;
let siteId: string;
let token: string;

beforeAll(async () => {
  fixture = await startServerFixture();
  customer = await startCustomerServer();
  token = fixture.demo.secretKey;
  siteId = fixture.demo.siteId;
  secret = (await rotate()).secret;
});
afterAll(async () => {
  await customer.stop();
  await fixture.stop();
});

const identityPath = () => `/v1/sites/${siteId}/identity`;
const rotate = async (overlapSeconds = 0) =>
  (await call<NewIdentitySecret>(fixture, "POST", `${identityPath()}-secret`, { token, body: { overlapSeconds } }))
    .body;

type Session = Answer<VisitorSession & Problem>;
const open = (body: Record<string, unknown>, headers: Record<string, string> = {}): Promise<Session> =>
  call(fixture, "POST", "/v1/visitor-sessions", {
    body: { publishableKey: fixture.demo.publishableKey, ...body },
    headers: { origin: ORIGIN, ...headers },
  });
let customers = 0;
const newCustomer = () => `customer-${++customers}`;
const identify = async (sub: string, more: Record<string, unknown> = {}, visitorToken?: string) => {
  const identityToken = signIdentity(secret, { sub, aud: siteId, ...more });
  const answer = await open({ identityToken, ...(visitorToken ? { visitorToken } : {}) });
  expect([answer.status, answer.body.detail]).toEqual([201, undefined]);
  return answer.body;
};
const conversations = async (visitorToken: string) =>
  (await call<Page<Conversation>>(fixture, "GET", "/v1/conversations", { token: visitorToken })).body.items.map(
    ({ id }) => id,
  );

describe("an identity token", () => {
  test("makes the visitor the person it names, on every device, with what it says of them", async () => {
    const sub = newCustomer();
    const first = await identify(sub, { name: "Ada", email: "ada@example.com", traits: { plan: "pro" } });
    expect(first.visitor).toMatchObject({ externalId: sub });
    const elsewhere = await identify(sub, { name: "Ada Lovelace" });
    expect(elsewhere.visitor.id).toBe(first.visitor.id);
    const { body } = await call<VisitorProfile>(fixture, "GET", `/v1/visitors/${first.visitor.id}`, { token });
    expect(body).toMatchObject({
      externalId: sub,
      name: "Ada Lovelace",
      email: "ada@example.com",
      traits: { plan: "pro" },
      siteId,
      identifiedAt: expect.any(String),
    });
    const found = await call<Page<VisitorProfile>>(fixture, "GET", `/v1/visitors?externalId=${sub}`, { token });
    expect(found.body.items).toEqual([body]);
  });

  test("gives them what they said before they were known, and what they said elsewhere", async () => {
    const sub = newCustomer();
    const laptop = await identify(sub);
    const before = await converse(fixture, laptop.visitorToken);
    const anonymous = await visit(fixture);
    const said = await converse(fixture, anonymous.visitorToken);
    await say(fixture, anonymous.visitorToken, said.id, "Where is my parcel?");
    const phone = await identify(sub, {}, anonymous.visitorToken);
    expect(phone.visitor.id).toBe(laptop.visitor.id);
    expect((await conversations(phone.visitorToken)).toSorted()).toEqual([before.id, said.id].toSorted());
    const gone = await call(fixture, "GET", "/v1/conversations", { token: anonymous.visitorToken });
    expect(gone).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
    // Nobody is that visitor any more: their old token alone opens nothing of the person's.
    const renewed = await open({ visitorToken: anonymous.visitorToken });
    expect(renewed.body.visitor).toMatchObject({ externalId: null });
    expect(await conversations(renewed.body.visitorToken)).toEqual([]);
    const asStaff = await call<VisitorProfile>(fixture, "GET", `/v1/visitors/${anonymous.visitor.id}`, { token });
    expect(asStaff.body.id).toBe(laptop.visitor.id);
  });

  test("never takes over what somebody else who is known has said", async () => {
    const [ada, bob] = [await identify(newCustomer()), newCustomer()];
    const hers = await converse(fixture, ada.visitorToken);
    const his = await identify(bob, {}, ada.visitorToken);
    expect(his.visitor.id).not.toBe(ada.visitor.id);
    expect(await conversations(his.visitorToken)).toEqual([]);
    expect(await conversations(ada.visitorToken)).toEqual([hers.id]);
  });

  test("nor what an anonymous visitor of another site or another person has said", async () => {
    const { body: site } = await call<Site>(fixture, "POST", "/v1/sites", {
      token,
      body: { name: "Second", agentId: fixture.demo.agentId, allowedOrigins: [ORIGIN] },
    });
    const { body: there } = await call<VisitorSession>(fixture, "POST", "/v1/visitor-sessions", {
      body: { publishableKey: site.publishableKey },
      headers: { origin: ORIGIN },
    });
    const theirs = await converse(fixture, there.visitorToken);
    const mine = await identify(newCustomer(), {}, there.visitorToken);
    expect(await conversations(mine.visitorToken)).toEqual([]);
    expect(await conversations(there.visitorToken)).toEqual([theirs.id]);
    const anonymous = await visit(fixture);
    const ours = await converse(fixture, anonymous.visitorToken);
    await identify(newCustomer(), {}, anonymous.visitorToken);
    const late = await identify(newCustomer(), {}, anonymous.visitorToken);
    expect(await conversations(late.visitorToken)).not.toContain(ours.id);
  });

  test("merges once though two tabs bring it at the same moment, and writing goes on meanwhile", async () => {
    for (let round = 0; round < 5; round++) {
      const sub = newCustomer();
      const anonymous = await visit(fixture);
      const said = await converse(fixture, anonymous.visitorToken);
      const tabs = [0, 1].map(() => identify(sub, {}, anonymous.visitorToken));
      const writing = call<Conversation>(fixture, "POST", "/v1/conversations", {
        token: anonymous.visitorToken,
        body: {},
      });
      const [one, two] = await Promise.all(tabs);
      expect(one?.visitor.id).toBe(two?.visitor.id);
      const { status, body } = await writing;
      const all = await conversations(two?.visitorToken ?? "");
      expect(all).toContain(said.id);
      // What was begun while they became somebody else is theirs, or was refused.
      expect(status === 401 || all.includes(body.id)).toBe(true);
    }
  });

  test("is taken once, but again from the browser that brought it, also when the first answer was lost", async () => {
    const identityToken = signIdentity(secret, { sub: newCustomer(), aud: siteId });
    const first = await open({ identityToken });
    expect(first.status).toBe(201);
    const stolen = await open({ identityToken });
    expect(stolen).toMatchObject({
      status: 401,
      body: { code: "unauthenticated", detail: expect.stringMatching(/used already/) },
    });
    const reloaded = await open({ identityToken, visitorToken: first.body.visitorToken });
    expect(reloaded.body.visitor).toEqual(first.body.visitor);
    const other = await visit(fixture);
    expect((await open({ identityToken, visitorToken: other.visitorToken })).status).toBe(401);

    const again = { identityToken: signIdentity(secret, { sub: newCustomer(), aud: siteId }) };
    const key = { "idempotency-key": "lost-answer" };
    const [once, twice] = [await open(again, key), await open(again, key)];
    expect(twice.headers.get("idempotency-replayed")).toBe("true");
    expect(twice.body).toEqual(once.body);
    const anonymous = await visit(fixture);
    const from = {
      identityToken: signIdentity(secret, { sub: newCustomer(), aud: siteId }),
      visitorToken: anonymous.visitorToken,
    };
    expect([(await open(from)).status, (await open(from)).status]).toEqual([201, 201]);
  });

  test("that is refused leaves everything as it was, and says why", async () => {
    const anonymous = await visit(fixture);
    const said = await converse(fixture, anonymous.visitorToken);
    const wrong = signIdentity("isk_another", { sub: newCustomer(), aud: siteId });
    const answer = await open({ identityToken: wrong, visitorToken: anonymous.visitorToken });
    expect(answer).toMatchObject({
      status: 401,
      body: { code: "unauthenticated", detail: expect.stringMatching(/HS256/) },
    });
    expect(await conversations(anonymous.visitorToken)).toEqual([said.id]);
    const elsewhere = signIdentity(secret, { sub: newCustomer(), aud: fixture.other.publishableKey });
    expect((await open({ identityToken: elsewhere })).body.detail).toMatch(/`aud`/);
  });

  test("of another tenant's site opens nothing here, and an origin that is not allowed nothing at all", async () => {
    const theirs = await call<NewIdentitySecret>(fixture, "POST", `/v1/sites/${fixture.other.siteId}/identity-secret`, {
      token: fixture.other.secretKey,
      body: {},
    });
    const identityToken = signIdentity(theirs.body.secret, { sub: "x", aud: siteId });
    expect((await open({ identityToken })).status).toBe(401);
    const mine = signIdentity(secret, { sub: newCustomer(), aud: siteId });
    expect((await open({ identityToken: mine }, { origin: "https://evil.example" })).status).toBe(403);
  });
});

test("reset ends the session on this browser and no other, and begins as somebody new", async () => {
  const sub = newCustomer();
  const [here, there] = [await identify(sub), await identify(sub)];
  const after = await open({ visitorToken: here.visitorToken, reset: true });
  expect(after.body.visitor).toMatchObject({ externalId: null });
  expect((await call(fixture, "GET", "/v1/conversations", { token: here.visitorToken })).status).toBe(401);
  expect((await call(fixture, "GET", "/v1/conversations", { token: there.visitorToken })).status).toBe(200);
  const renewed = await open({ visitorToken: here.visitorToken });
  expect(renewed.body.visitor.externalId).toBeNull();
  expect(renewed.body.visitor.id).not.toBe(after.body.visitor.id);
});

describe("a site's secret", () => {
  test("is shown once, can be replaced with an overlap, and is no part of what is read or audited", async () => {
    const next = await rotate(3_600);
    expect(next).toMatchObject({
      algorithm: "HS256",
      secret: expect.stringMatching(/^isk_/),
      previousSecretExpiresAt: expect.any(String),
    });
    for (const each of [secret, next.secret]) {
      const answer = await open({
        identityToken: signIdentity(each, { sub: newCustomer(), aud: fixture.demo.publishableKey }),
      });
      expect(answer.status).toBe(201);
    }
    const read = await call<SiteIdentity>(fixture, "GET", identityPath(), { token });
    expect(read.body).toEqual({
      algorithm: "HS256",
      jwksUrl: null,
      secretHint: `••••${next.secret.slice(-4)}`,
      previousSecretExpiresAt: next.previousSecretExpiresAt,
    });
    const third = await rotate(0);
    for (const each of [secret, next.secret]) {
      expect((await open({ identityToken: signIdentity(each, { sub: newCustomer(), aud: siteId }) })).status).toBe(401);
    }
    secret = third.secret;
    const audit = await call(fixture, "GET", "/v1/audit-log?action=site.identity_secret_rotated", { token });
    expect(JSON.stringify(audit.body)).toContain("identity_secret_rotated");
    for (const each of [next.secret, third.secret]) expect(JSON.stringify(audit.body)).not.toContain(each);
  });

  test("belongs to whoever may change sites, and to the tenant", async () => {
    const { visitorToken } = await visit(fixture);
    for (const credential of [visitorToken, fixture.demo.publishableKey, fixture.other.secretKey]) {
      const answer = await call(fixture, "POST", `${identityPath()}-secret`, { token: credential, body: {} });
      expect([401, 403, 404]).toContain(answer.status);
    }
    expect((await call(fixture, "GET", identityPath(), { token: fixture.other.secretKey })).status).toBe(404);
  });
});

describe("keys of the customer's own", () => {
  const set = (algorithm: string, jwksUrl = customer.jwksUrl) =>
    call<SiteIdentity & Problem>(fixture, "PATCH", identityPath(), { token, body: { algorithm, jwksUrl } });

  test.each(["RS256", "ES256", "EdDSA"] as const)(
    "%s are read from their address, kept, and read again for a new one",
    async (algorithm) => {
      expect((await set(algorithm)).body).toEqual({
        algorithm,
        jwksUrl: customer.jwksUrl,
        secretHint: null,
        previousSecretExpiresAt: null,
      });
      const kid = customer.addKey(algorithm);
      const by = (name: string) => open({ identityToken: customer.sign(name, { sub: newCustomer(), aud: siteId }) });
      // Another address for each algorithm would be another cache: the path alone says which.
      await set(algorithm, `${customer.jwksUrl}?${algorithm}`);
      expect((await by(kid)).status).toBe(201);
      const { asked } = customer;
      expect((await by(kid)).status).toBe(201);
      expect(customer.asked).toBe(asked);
      expect((await open({ identityToken: signIdentity(secret, { sub: newCustomer(), aud: siteId }) })).status).toBe(
        401,
      );
    },
  );

  test("that cannot be had are no fault of the token's: 503, and nothing is followed or read without end", async () => {
    const kid = customer.addKey("ES256");
    const ways: [string, Parameters<CustomerServer["answer"]>[0]][] = [
      ["status", (_request, response) => response.writeHead(500).end()],
      ["redirect", (_request, response) => response.writeHead(302, { location: customer.jwksUrl }).end()],
      ["html", (_request, response) => response.end("<html>")],
      ["endless", (_request, response) => response.end(`{"keys":[${" ".repeat(200_000)}]}`)],
      ["cut", (_request, response) => response.destroy()],
    ];
    for (const [name, answer] of ways) {
      customer.answer(answer);
      await set("ES256", `${customer.jwksUrl}?${name}`);
      const refused = await open({ identityToken: customer.sign(kid, { sub: newCustomer(), aud: siteId }) });
      expect([name, refused.status, refused.body.code]).toEqual([name, 503, "unavailable"]);
    }
    customer.answer(null);
  });

  test.each([
    ["http://shop.example/jwks"],
    ["https://10.0.0.1/jwks"],
    ["https://169.254.169.254/latest"],
    ["https://[fd00::1]/jwks"],
    ["https://user:pass@shop.example/jwks"],
    ["file:///etc/passwd"],
    ["shop.example"],
    ["javascript:alert(1)"],
  ])("may not lie at %s", async (jwksUrl) => {
    expect(await set("RS256", jwksUrl)).toMatchObject({ status: 400, body: { code: "invalid_request" } });
  });

  test("can be taken away: then nobody is identified", async () => {
    expect((await call(fixture, "DELETE", identityPath(), { token })).status).toBe(204);
    const read = await call<SiteIdentity>(fixture, "GET", identityPath(), { token });
    expect(read.body.algorithm).toBeNull();
    const answer = await open({ identityToken: signIdentity(secret, { sub: newCustomer(), aud: siteId }) });
    expect(answer).toMatchObject({ status: 401, body: { detail: expect.stringMatching(/identifies nobody/) } });
    secret = (await rotate()).secret;
  });
});
