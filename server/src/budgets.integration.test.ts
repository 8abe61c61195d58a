import { newId, uuidOf } from "@agent-engine/core/ids.ts";
import type { Budget, ModelPrice, UsageRow } from "@agent-engine/protocol/budgets.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { asOwner } from "./isolation-fixture.ts";
import { call, scopedKey, startServerFixture, visit, type ServerFixture } from "./server-fixture.ts";

let fixture: ServerFixture;
let token: string;

beforeAll(async () => {
  fixture = await startServerFixture();
  token = fixture.demo.secretKey;
});
afterAll(() => fixture.stop());

const send = <T = { code: string; detail: string }>(method: string, path: string, body?: unknown, as = token) =>
  call<T>(fixture, method, path, { token: as, ...(body === undefined ? {} : { body }) });

const DAY = { name: "Everybody's day", subject: "tenant", period: "day", maxTokens: 1_000 };

describe("a budget", () => {
  test("is made with the usual rungs, read, listed, changed and deleted", async () => {
    const made = await send<Budget>("POST", "/v1/budgets", DAY);
    expect(made.status).toBe(201);
    expect(made.body).toEqual({
      id: expect.stringMatching(/^budget_[0-9a-f]{32}$/),
      name: "Everybody's day",
      subject: "tenant",
      subjectId: null,
      period: "day",
      maxRuns: null,
      maxTokens: 1_000,
      maxCostMicros: null,
      warnAtPercent: 80,
      fallbackAtPercent: 90,
      withoutToolsAtPercent: 95,
      fallbackModel: null,
      current: null,
      createdAt: expect.any(String),
    });
    const path = `/v1/budgets/${made.body.id}`;
    expect((await send("GET", path)).body).toEqual(made.body);
    expect((await send<Page<Budget>>("GET", "/v1/budgets?limit=1")).body.items).toEqual([made.body]);
    const fallbackModel = { provider: "openai", name: "gpt-5-nano", settings: {} };
    const changed = await send<Budget>("PATCH", path, { maxRuns: 5, warnAtPercent: null, fallbackModel });
    expect(changed.body).toEqual({ ...made.body, maxRuns: 5, warnAtPercent: null, fallbackModel });
    expect((await send("DELETE", path)).status).toBe(204);
    expect((await send("GET", path)).status).toBe(404);
    expect((await send("PATCH", path, { maxRuns: 1 })).status).toBe(404);
    expect((await send("DELETE", path)).status).toBe(404);
  });

  test("is for an agent, a visitor, or each of them", async () => {
    const { visitor } = await visit(fixture);
    const { agentId } = fixture.demo;
    for (const [subject, subjectId] of [
      ["agent", agentId],
      ["agent", null],
      ["visitor", visitor.id],
      ["visitor", null],
    ] as const) {
      const { body } = await send<Budget>("POST", "/v1/budgets", { ...DAY, subject, subjectId });
      expect(body).toMatchObject({ subject, subjectId });
    }
  });

  test.each([
    [{ maxTokens: undefined }, /Give at least one of/],
    [{ maxTokens: -1 }, /`maxTokens`/],
    [{ maxTokens: 1.5 }, /`maxTokens`/],
    [{ period: "week" }, /`period`/],
    [{ subject: "site" }, /`subject`/],
    [{ warnAtPercent: 101 }, /`warnAtPercent`/],
    [{ name: " " }, /`name` must not be empty/],
    [{ subjectId: `agent_${"0".repeat(32)}` }, /Leave it out/],
    [{ fallbackModel: { provider: "openai-compatible", name: "m" } }, /settings\.baseUrl/],
    [{ current: null }, /`current` is not a field/],
  ])("is not made with %j", async (wrong, detail) => {
    const { status, body } = await send("POST", "/v1/budgets", { ...DAY, ...wrong });
    expect(status).toBe(400);
    expect(body.detail).toMatch(detail);
  });

  test("keeps one maximum at least", async () => {
    const { body } = await send<Budget>("POST", "/v1/budgets", DAY);
    expect((await send("PATCH", `/v1/budgets/${body.id}`, { maxTokens: null })).status).toBe(400);
    expect((await send("PATCH", `/v1/budgets/${body.id}`, { maxTokens: null, maxRuns: 1 })).status).toBe(200);
    expect((await send("PATCH", `/v1/budgets/${body.id}`, { period: "month" })).status).toBe(400);
  });

  test("of somebody who is not the tenant's is not made", async () => {
    const subjectId = fixture.other.agentId;
    expect((await send("POST", "/v1/budgets", { ...DAY, subject: "agent", subjectId })).status).toBe(404);
  });

  test("needs its permissions", async () => {
    const reader = await scopedKey(fixture, "budgets:read");
    expect((await send("GET", "/v1/budgets", undefined, reader)).status).toBe(200);
    expect((await send("POST", "/v1/budgets", DAY, reader)).status).toBe(403);
    expect((await send("GET", "/v1/usage", undefined, reader)).status).toBe(403);
    const { visitorToken } = await visit(fixture);
    expect((await send("GET", "/v1/budgets", undefined, visitorToken)).status).toBe(403);
    expect((await send("GET", "/v1/usage", undefined, visitorToken)).status).toBe(403);
  });

  test("the hundred and first is refused", async () => {
    const as = fixture.other.secretKey;
    for (let n = 0; n < 100; n++) expect((await send("POST", "/v1/budgets", DAY, as)).status).toBe(201);
    expect(await send("POST", "/v1/budgets", DAY, as)).toMatchObject({ status: 409, body: { code: "conflict" } });
  });
});

describe("a price of the tenant's own", () => {
  test("is set, replaced, listed and deleted", async () => {
    const set = await send<ModelPrice>("POST", "/v1/model-prices", { model: "our-model", input: 0.2, output: 0.8 });
    expect(set).toMatchObject({ status: 201, body: { input: 0.2, cachedInput: 0.2, output: 0.8 } });
    const body = { model: "our-model", input: 0.3, cachedInput: 0.03, output: 1 };
    const again = await send<ModelPrice>("POST", "/v1/model-prices", body);
    expect(again.body).toEqual({ ...set.body, ...body });
    expect((await send<Page<ModelPrice>>("GET", "/v1/model-prices")).body.items).toEqual([again.body]);
    expect((await send("DELETE", `/v1/model-prices/${set.body.id}`)).status).toBe(204);
    expect((await send("DELETE", `/v1/model-prices/${set.body.id}`)).status).toBe(404);
  });

  test.each([{ input: -1 }, { output: 1e9 }, { input: "1" }, { model: "" }])("is not set to %j", async (wrong) => {
    expect((await send("POST", "/v1/model-prices", { model: "m", input: 1, output: 1, ...wrong })).status).toBe(400);
  });
});

describe("usage", () => {
  const [ada, bob] = [newId("visitor"), newId("visitor")];
  const [one, other] = [newId("agent"), newId("agent")];
  const runs = [newId("run"), newId("run"), newId("run")] as const;

  async function turn(at: string, runId: string, agentId: string, visitorId: string | null, tokens: number, more = {}) {
    const row = { model: "gpt-5-mini", cost: tokens * 2, isEstimated: false, ...more };
    await asOwner(fixture, (db) =>
      db.query(
        `insert into usage (tenant_id, at, run_id, step_index, agent_id, visitor_id, provider, model, input_tokens, total_tokens,
           cost_micros, is_estimated) values ($1, $2, $3, 0, $4, $5, 'openai', $6, $7, $7, $8, $9)`,
        [
          uuidOf(fixture.demo.tenantId),
          at,
          uuidOf(runId),
          uuidOf(agentId),
          visitorId === null ? null : uuidOf(visitorId),
          row.model,
          tokens,
          row.cost,
          row.isEstimated,
        ],
      ),
    );
  }

  const read = async (query: string) => {
    const { status, body } = await send<Page<UsageRow>>("GET", `/v1/usage?${query}`);
    expect([status, body]).toEqual([200, body]);
    return body;
  };

  beforeAll(async () => {
    await turn("2026-03-31T23:59:59.999Z", runs[0], one, ada, 10);
    await turn("2026-04-01T00:00:00.000Z", runs[1], one, ada, 20);
    await turn("2026-04-01T12:00:00.000Z", runs[1], one, ada, 30, { model: "unheard-of", cost: null });
    await turn("2026-04-30T23:59:59.999Z", runs[2], other, bob, 40, { isEstimated: true });
  });
  let rows: UsageRow[];
  beforeEach(() => {
    rows = [];
  });

  test("by day, at midnight UTC", async () => {
    rows = (await read("from=2026-03-31&to=2026-04-30")).items;
    expect(rows.map(({ startsOn, runs: made, turns, totalTokens }) => [startsOn, made, turns, totalTokens])).toEqual([
      ["2026-04-30", 1, 1, 40],
      ["2026-04-01", 1, 2, 50],
      ["2026-03-31", 1, 1, 10],
    ]);
    expect(rows[1]).toMatchObject({
      costMicros: 40,
      unpricedTokens: 30,
      estimatedTokens: 0,
      agentId: null,
      model: null,
    });
    expect(rows[0]).toMatchObject({ estimatedTokens: 40 });
    expect((await read("from=2026-04-01&to=2026-04-01")).items).toHaveLength(1);
  });

  test("by month, and by whom", async () => {
    rows = (await read("from=2026-03-01&to=2026-04-30&interval=month&groupBy=agent")).items;
    expect(rows.map(({ startsOn, agentId, totalTokens }) => [startsOn, agentId, totalTokens])).toEqual([
      ["2026-04-01", one, 50],
      ["2026-04-01", other, 40],
      ["2026-03-01", one, 10],
    ]);
    rows = (await read("from=2026-04-01&to=2026-04-30&interval=month&groupBy=model")).items;
    expect(rows.map(({ provider, model, totalTokens }) => [provider, model, totalTokens])).toEqual([
      ["openai", "gpt-5-mini", 60],
      ["openai", "unheard-of", 30],
    ]);
    rows = (await read(`from=2026-03-01&to=2026-04-30&interval=month&groupBy=visitor&agentId=${one}`)).items;
    expect(rows.map(({ visitorId, totalTokens }) => [visitorId, totalTokens])).toEqual([
      [ada, 50],
      [ada, 10],
    ]);
    rows = (await read(`from=2026-03-01&to=2026-04-30&visitorId=${bob}`)).items;
    expect(rows.map(({ totalTokens }) => totalTokens)).toEqual([40]);
  });

  test("by pages that are whole together", async () => {
    const query = "from=2026-03-01&to=2026-04-30&limit=1";
    const pages: UsageRow[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const page: Page<UsageRow> = await read(cursor === "" ? query : `${query}&cursor=${cursor}`);
      pages.push(...page.items);
      cursor = page.nextCursor;
    }
    expect(pages).toEqual((await read("from=2026-03-01&to=2026-04-30")).items);
  });

  test.each([
    "from=yesterday",
    "from=2026-02-30",
    "from=2026-04-02&to=2026-04-01",
    "from=2020-01-01&to=2026-04-01",
    "interval=week",
    "groupBy=site",
    "agentId=ada",
    "cursor=ada",
    "cursor=-1",
  ])("is not read with %s", async (query) => {
    expect((await send("GET", `/v1/usage?${query}`)).status).toBe(400);
  });
});
