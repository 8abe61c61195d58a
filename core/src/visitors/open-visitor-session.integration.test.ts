import { afterAll, beforeAll, expect, test } from "vitest";
import type { SiteId, VisitorId } from "@agent-engine/protocol/ids.ts";
import { openSpine, openTenant, type Spine } from "@agent-engine/testing/spine.ts";
import { TEST_ORIGIN, type TestTenant } from "@agent-engine/testing/tenants.ts";
import { newId, uuidOf } from "../ids.ts";
import { allowOrigin } from "../sites/allow-origin.ts";
import { createSite } from "../sites/create-site.ts";
import { isOriginKnown } from "../tenancy/is-origin-known.ts";
import { resolveApiKey } from "../tenancy/resolve-api-key.ts";
import { resolvePublishableKey } from "../tenancy/resolve-publishable-key.ts";
import { openVisitorSession, type EarlierSession } from "./open-visitor-session.ts";

let spine: Spine;
let tenant: TestTenant;
let other: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
  [tenant, other] = await Promise.all([
    openTenant(spine, { greeting: "Hello", suggestions: ["Hours?"] }),
    openTenant(spine),
  ]);
});
afterAll(() => spine.close());

/** As a page with an earlier token would. */
const open = (visitorId?: string, of = tenant) =>
  openVisitorSession(of.ctx, {
    siteId: of.siteId as SiteId,
    ...(visitorId === undefined ? {} : { earlier: earlierOf(visitorId) }),
  });
const earlierOf = (visitorId: string): EarlierSession => ({
  visitorId: visitorId as VisitorId,
  sessionId: newId("session"),
  issuedAt: Date.now(),
  identifiedAt: null,
});

test("a new visitor is made, and known again; what the widget needs comes with it, and no more", async () => {
  const first = await open();
  expect(first).toEqual({
    visitor: { id: expect.stringMatching(/^visitor_[0-9a-f]{32}$/), externalId: null, createdAt: expect.any(String) },
    site: {
      id: tenant.siteId,
      name: "Test site",
      agent: {
        id: tenant.agentId,
        name: "Test agent",
        greeting: "Hello",
        suggestions: ["Hours?"],
        isLanguageModel: false,
      },
      theme: {},
    },
    sessionId: expect.stringMatching(/^session_[0-9a-f]{32}$/),
    identifiedAt: null,
  });
  expect((await open(first.visitor.id)).visitor).toEqual(first.visitor);
  expect((await open()).visitor.id).not.toBe(first.visitor.id);
});

test("a visitor who is gone, or belongs to another site or tenant, is a new one", async () => {
  const { visitor } = await open();
  const second = await createSite(tenant.ctx, { name: "Second", agentId: tenant.agentId, allowedOrigins: [] });
  const elsewhere = await openVisitorSession(tenant.ctx, { siteId: second.id, earlier: earlierOf(visitor.id) });
  expect(elsewhere.visitor.id).not.toBe(visitor.id);
  expect((await open(visitor.id, other)).visitor.id).not.toBe(visitor.id);
  expect((await open(newId("visitor"))).visitor.id).toMatch(/^visitor_/);
});

test("another tenant's site is unknown; a site whose agent is not published says so", async () => {
  await expect(openVisitorSession(other.ctx, { siteId: tenant.siteId as SiteId })).rejects.toMatchObject({
    code: "not_found",
  });
  const draft = await openTenant(spine);
  await spine.owner.query("update agents set published_version = null where tenant_id = $1", [uuidOf(draft.id)]);
  await expect(open(undefined, draft)).rejects.toMatchObject({ code: "conflict" });
});

test("keys lead to their tenant, and only while they hold", async () => {
  expect(await resolvePublishableKey(spine.services, tenant.publishableKey)).toMatchObject({
    tenantId: tenant.id,
    siteId: tenant.siteId,
    agentId: tenant.agentId,
    allowedOrigins: [TEST_ORIGIN],
  });
  const resolve = () => resolveApiKey(spine.services, tenant.secretKey);
  expect(await resolve()).toMatchObject({ tenantId: tenant.id, scopes: ["*"] });
  for (const key of ["", "pk_", "pk_unknown", "\u0000", `${tenant.publishableKey}\u0000`.slice(0, -2), "'"]) {
    expect(await resolvePublishableKey(spine.services, key)).toBeNull();
  }
  for (const key of ["", "sk_", "sk_unknown", tenant.publishableKey, `${tenant.secretKey}x`]) {
    expect(await resolveApiKey(spine.services, key)).toBeNull();
  }
  const set = (sql: string) =>
    spine.owner.query(`update api_keys set ${sql} where tenant_id = $1`, [uuidOf(tenant.id)]);
  await set("expires_at = now() - interval '1 second'");
  expect(await resolve()).toBeNull();
  await set("expires_at = now() + interval '1 hour'");
  expect(await resolve()).not.toBeNull();
  await set("revoked_at = now()");
  expect(await resolve()).toBeNull();
});

test("an origin is known once a site of any tenant allows it", async () => {
  const origin = "https://new.example";
  expect(await isOriginKnown(spine.services, [origin])).toBe(false);
  for (let twice = 0; twice < 2; twice++) await allowOrigin(tenant.ctx, { siteId: tenant.siteId as SiteId, origin });
  expect(await isOriginKnown(spine.services, ["https://*.example", origin])).toBe(true);
  expect((await resolvePublishableKey(spine.services, tenant.publishableKey))?.allowedOrigins).toEqual([
    TEST_ORIGIN,
    origin,
  ]);
  await expect(allowOrigin(other.ctx, { siteId: tenant.siteId as SiteId, origin })).rejects.toMatchObject({
    code: "not_found",
  });
});
