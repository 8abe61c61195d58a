import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Site } from "@agent-engine/protocol/administration.ts";
import type { Page, Problem, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { startServer, type RunningServer } from "./main.ts";
import { call, startServerFixture, type ServerFixture } from "./server-fixture.ts";

type Answered = Site & Pick<Problem, "detail">;

let fixture: ServerFixture;
let second: RunningServer;
let token: string;
beforeAll(async () => {
  fixture = await startServerFixture();
  token = fixture.demo.secretKey;
  const { services } = fixture;
  second = await startServer({ services, config: { redisUrl: null, publicUrl: null }, port: 0 });
});
afterAll(async () => {
  await second.stop();
  await fixture.stop();
});

const make = (body: object) =>
  call<Answered>(fixture, "POST", "/v1/sites", {
    token,
    body: { name: "Shop", agentId: fixture.demo.agentId, ...body },
  });
const change = (id: string, body: object) => call<Answered>(fixture, "PATCH", `/v1/sites/${id}`, { token, body });
const rotate = (id: string, overlapSeconds: number) =>
  call<Answered>(fixture, "POST", `/v1/sites/${id}/rotate`, { token, body: { overlapSeconds } });

/** Opens a visitor session as a page on the origin would. */
const open = async (publishableKey: string, origin: string) =>
  call<VisitorSession & Problem>(fixture, "POST", "/v1/visitor-sessions", {
    body: { publishableKey },
    headers: { origin },
  });

const preflight = (url: string, origin: string) =>
  call({ url }, "OPTIONS", "/v1/conversations", { headers: { origin, "access-control-request-method": "POST" } });

describe("a site", () => {
  test("is made, read, listed, changed and deleted", async () => {
    const theme = { accent: "#336699", "font-family": "system-ui, sans-serif" };
    const { status, body: site } = await make({
      allowedOrigins: ["https://One.example/", "https://one.example"],
      theme,
    });
    expect([status, site]).toEqual([
      201,
      expect.objectContaining({
        name: "Shop",
        agentId: fixture.demo.agentId,
        allowedOrigins: ["https://one.example"],
        theme,
      }),
    ]);
    expect(site.publishableKey).toMatch(/^pk_/);
    const path = `/v1/sites/${site.id}`;
    expect((await call(fixture, "GET", path, { token })).body).toEqual(site);
    const listed = await call<Page<Site>>(fixture, "GET", "/v1/sites?limit=1", { token });
    expect(listed.body.items).toEqual([site]);
    const changed = await change(site.id, { name: "Store", theme: {} });
    expect(changed.body).toEqual({ ...site, name: "Store", theme: {} });
    const session = await open(site.publishableKey, "https://one.example");
    expect([session.status, session.body.site.name]).toEqual([201, "Store"]);
    expect((await call(fixture, "DELETE", path, { token })).status).toBe(204);
    expect((await open(site.publishableKey, "https://one.example")).status).toBe(401);
    for (const method of ["GET", "PATCH", "DELETE"]) {
      const answer = await call(fixture, method, path, { token, ...(method === "PATCH" ? { body: {} } : {}) });
      expect([method, answer.status]).toEqual([method, 404]);
    }
    const after = await call<Page<Site>>(fixture, "GET", "/v1/sites", { token });
    expect(after.body.items.map(({ id }) => id)).not.toContain(site.id);
  });

  test("of another tenant is as missing as one that never was, and so is another tenant's agent", async () => {
    const { agentId, siteId } = fixture.other;
    const answers = await Promise.all(
      [siteId, "site_00000000000000000000000000000000", "x"].flatMap((id) => [
        call(fixture, "GET", `/v1/sites/${id}`, { token }),
        change(id, { name: "Mine" }),
        rotate(id, 0),
        call(fixture, "DELETE", `/v1/sites/${id}`, { token }),
      ]),
    );
    expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, { ...body, requestId: "" }]))).size).toBe(
      1,
    );
    expect(answers[0]?.status).toBe(404);
    expect((await make({ agentId })).status).toBe(404);
    expect((await change(fixture.demo.siteId, { agentId })).status).toBe(404);
  });

  test.each([
    ["*.com"],
    ["https://*.co.uk"],
    ["*.github.io"],
    ["https://*.vercel.app"],
    ["*.internal"],
    ["https://*"],
    ["*"],
    ["https://*.127.0.0.1"],
    ["ftp://files.example"],
    ["https://shop.example/path"],
    ["https://a.*.example"],
    ["javascript:alert(1)"],
  ])("may not allow %s", async (origin) => {
    const { status, body } = await make({ allowedOrigins: [origin] });
    expect([status, body.detail]).toEqual([400, expect.stringContaining("allowedOrigins")]);
    expect((await change(fixture.demo.siteId, { allowedOrigins: [origin] })).status).toBe(400);
  });

  test("may allow every subdomain of a domain somebody owns, and of this machine", async () => {
    const { body } = await make({
      allowedOrigins: [
        "*.shop.example",
        "https://*.me.github.io",
        "http://*.localhost:3002",
        "https://*.corp.internal",
      ],
    });
    expect(body.allowedOrigins).toEqual([
      "https://*.shop.example",
      "https://*.me.github.io",
      "http://*.localhost:3002",
      "https://*.corp.internal",
    ]);
    expect((await open(body.publishableKey, "https://eu.shop.example")).status).toBe(201);
    expect((await open(body.publishableKey, "https://shop.example.evil.example")).status).toBe(403);
  });

  test.each([
    [{ accent: "url(https://evil.example/pixel)" }],
    [{ accent: "red; } body { display: none" }],
    [{ Accent: "red" }],
    [{ "--x": "red" }],
  ])("takes no theme like %o", async (theme) => {
    expect((await make({ theme })).status).toBe(400);
  });
});

test("a rotated key leaves the old one good for the overlap", async () => {
  const origin = "https://rotated.example";
  const { body: site } = await make({ allowedOrigins: [origin] });
  const { body: first } = await rotate(site.id, 3_600);
  expect(first.publishableKey).not.toBe(site.publishableKey);
  expect(Date.parse(first.previousKeyExpiresAt ?? "")).toBeGreaterThan(Date.now());
  const statuses = async (...keys: string[]) => Promise.all(keys.map(async (key) => (await open(key, origin)).status));
  expect(await statuses(site.publishableKey, first.publishableKey)).toEqual([201, 201]);
  const { body: second } = await rotate(site.id, 0);
  expect(await statuses(site.publishableKey, first.publishableKey, second.publishableKey)).toEqual([401, 401, 201]);
});

test("every server goes by changed origins within seconds", async () => {
  const [before, after] = ["https://before.example", "https://after.example"];
  const { body: site } = await make({ allowedOrigins: [before] });
  const allowed = async (origin: string) =>
    Promise.all([fixture.url, second.url].map(async (url) => (await preflight(url, origin)).status === 204));
  expect(await allowed(before)).toEqual([true, true]);
  expect(await allowed(after)).toEqual([false, false]);
  await change(site.id, { allowedOrigins: [after] });
  await waitFor(async () => (await allowed(after)).every(Boolean), { describe: "the new origin" });
  await waitFor(async () => !(await allowed(before)).some(Boolean), { describe: "the end of the old one" });
});
