import type { InstalledToolkit, ToolkitHealth } from "@agent-engine/protocol/toolkits.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TOOLKIT } from "./isolation-fixture.ts";
import { call, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
beforeAll(async () => {
  fixture = await startServerFixture();
});
afterAll(() => fixture.stop());

const get = <T>(path: string, token = fixture.demo.secretKey) => call<T>(fixture, "GET", path, { token });

test("staff read how well toolkits are, one or all of them, for a window", async () => {
  const { body: toolkit } = await call<InstalledToolkit>(fixture, "POST", "/v1/toolkits", {
    token: fixture.demo.secretKey,
    body: { ...TOOLKIT, name: "shop", title: "The shop" },
  });
  expect(toolkit.toolsChangedAt).toBeNull();
  const path = `/v1/toolkits/${toolkit.id}/health`;
  const { status, body } = await get<ToolkitHealth>(`${path}?window=15m`);
  expect([status, body]).toMatchObject([
    200,
    { toolkitId: toolkit.id, title: "The shop", calls: 0, successRate: null },
  ]);
  expect(Date.parse(body.until) - Date.parse(body.since)).toBe(900_000);
  const all = await get<Page<ToolkitHealth>>("/v1/toolkits/health");
  expect(all.body.items.map(({ name }) => name)).toEqual(["shop"]);

  expect((await get(`${path}?window=2h`)).status).toBe(400);
  expect((await get(`/v1/toolkits/health?cursor=${encodeURIComponent("\0")}`)).status).toBe(200);
  const { visitorToken } = await visit(fixture);
  const others = { visitor: visitorToken, tenant: fixture.other.secretKey };
  expect((await get(path, others.visitor)).status).toBe(403);
  expect((await get(path, others.tenant)).status).toBe(404);
  expect((await get<Page<ToolkitHealth>>("/v1/toolkits/health", others.tenant)).body.items).toEqual([]);
});
