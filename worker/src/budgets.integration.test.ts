/** Budgets over whole runs: what is spent of them, the ladder, and what whoever writes reads at its end. */
import { createBudget, type CreateBudget } from "@agent-engine/core/budgets/create-budget.ts";
import { getBudget } from "@agent-engine/core/budgets/get-budget.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { createConversation } from "@agent-engine/core/conversations/create-conversation.ts";
import { submit } from "@agent-engine/testing/submit.ts";
import { uuidOf } from "@agent-engine/core/ids.ts";
import { setModelPrice } from "@agent-engine/core/models/model-prices.ts";
import { getRun } from "@agent-engine/core/runs/get-run.ts";
import { openServices } from "@agent-engine/core/services.ts";
import { readUsage } from "@agent-engine/core/usage/read-usage.ts";
import type { Budget } from "@agent-engine/protocol/budgets.ts";
import type { Run } from "@agent-engine/protocol/resources.ts";
import { say } from "@agent-engine/testing/model-directive.ts";
import { visitorOf } from "@agent-engine/testing/spine.ts";
import { createTestTenant, type TestTenant } from "@agent-engine/testing/tenants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BUDGET_SPENT } from "./engine/human-messages.ts";
import { startWorker } from "./main.ts";
import { calls, says, startProduct, type Chat, type Product } from "./product-fixture.ts";

let product: Product;

beforeAll(async () => {
  product = await startProduct();
});
afterEach(() => product.expectSound());
afterAll(() => product.stop());

const make = (ctx: Ctx, input: Partial<CreateBudget>): Promise<Budget> =>
  createBudget(ctx, {
    name: "Test",
    subject: "tenant",
    subjectId: null,
    period: "day",
    maxRuns: null,
    maxTokens: null,
    maxCostMicros: null,
    warnAtPercent: null,
    fallbackAtPercent: null,
    withoutToolsAtPercent: null,
    fallbackModel: null,
    ...input,
  });

const usageOf = async (ctx: Ctx) => {
  const today = new Date().toISOString().slice(0, 10);
  const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  const range = { from: yesterday, to: today, interval: "month", groupBy: "tenant", limit: 10, cursor: null } as const;
  const { items } = await readUsage(ctx, range);
  const sum = (field: "runs" | "turns" | "totalTokens" | "costMicros" | "estimatedTokens" | "unpricedTokens") =>
    items.reduce((total, row) => total + row[field], 0);
  return {
    runs: sum("runs"),
    turns: sum("turns"),
    tokens: sum("totalTokens"),
    costMicros: sum("costMicros"),
    estimated: sum("estimatedTokens"),
    unpriced: sum("unpricedTokens"),
  };
};

const tokensOf = ({ usage }: Pick<Run, "usage">) => usage.reduce((sum, { totalTokens = 0 }) => sum + totalTokens, 0);

const TWO_TURNS = say("Please", { steps: [calls("look", "a")] }, { steps: [says("Ok.")] });

async function race(tenant: TestTenant, runs: number, text: string): Promise<Run[]> {
  const asked = await Promise.all(
    Array.from({ length: runs }, async () => {
      const visitor = await visitorOf(tenant);
      const { id } = await createConversation(visitor, {});
      return (await submit(visitor, { conversationId: id, clientMessageId: "m1", text })).run;
    }),
  );
  return Promise.all(
    asked.map(({ id }) =>
      waitFor(async () => ((await getRun(tenant.ctx, id)).finishedAt === null ? null : getRun(tenant.ctx, id)), {
        describe: `${id} to end`,
        timeoutMs: 60_000,
      }),
    ),
  );
}

const plain = { knowledge: { enabled: false, maxResults: 5 }, toolkits: [] };

test.each([
  ["that fits none of them", {}],
  ["that fits several at once", { maxOutputTokens: 16 }],
])("twenty runs at once on a budget for three turns, with an estimate %s", async (_estimate, settings) => {
  const config = { ...plain, model: { provider: "auto" as const, name: null, settings } };
  const measured = await race(await createTestTenant(product.services, config), 1, "Hello");
  const turn = tokensOf(measured[0] as Run);
  expect(turn).toBeGreaterThan(0);
  const tenant = await createTestTenant(product.services, config);
  const budget = await make(tenant.ctx, { maxTokens: 3 * turn });
  const runs = await race(tenant, 20, "Hello");
  const made = runs.filter(({ usage }) => usage.length > 0);
  const spent = runs.reduce((sum, run) => sum + tokensOf(run), 0);
  expect(made.length).toBeGreaterThanOrEqual(3);
  expect(spent).toBeLessThanOrEqual(3 * turn + turn);
  expect(runs.map(({ status }) => status)).toEqual(Array.from({ length: 20 }, () => "completed"));
  expect(runs.filter(({ finishReason }) => finishReason === "limit")).toHaveLength(20 - made.length);
  expect((await getBudget(tenant.ctx, budget.id)).current).toMatchObject({
    tokens: spent,
    heldTokens: 0,
    runs: made.length,
  });
  expect(await usageOf(tenant.ctx)).toMatchObject({ tokens: spent, turns: made.length, estimated: 0 });
});

test("forty runs at once over two workers: what is spent is over the budget by one turn at most", async () => {
  const measured = await race(await createTestTenant(product.services, plain), 1, "Hello");
  const turn = tokensOf(measured[0] as Run);
  // Another process as far as they know each other: connections, bus and what it remembers are its own.
  const { ownerUrl, secrets, models, log } = product.services;
  const others = await openServices({ redisUrl: null, secretKeys: [...secrets.keys], models }, ownerUrl, log);
  const other = await startWorker({
    services: others,
    config: { nodeEnv: "test", workerConcurrency: 16 },
    retryPolicy: product.retryPolicy,
    stall: product.stall,
  });
  try {
    const tenant = await createTestTenant(product.services, plain);
    const budget = await make(tenant.ctx, { maxTokens: Math.floor(4.5 * turn) });
    const runs = await race(tenant, 40, "Hello");
    const { rows } = await product.db.query("select distinct worker_id from runs where tenant_id = $1", [
      uuidOf(tenant.id),
    ]);
    expect(rows).toHaveLength(2);
    const spent = runs.reduce((sum, run) => sum + tokensOf(run), 0);
    expect(spent).toBe(5 * turn);
    expect(runs.filter(({ finishReason }) => finishReason === "limit")).toHaveLength(35);
    expect((await getBudget(tenant.ctx, budget.id)).current).toMatchObject({ tokens: spent, heldTokens: 0, runs: 5 });
    expect(await usageOf(tenant.ctx)).toMatchObject({ tokens: spent, turns: 5 });
  } finally {
    await other.stop();
    await others.close();
  }
});

describe("the ladder", () => {
  const fallbackModel = { provider: "auto", name: "a-cheaper-model", settings: { maxOutputTokens: 50 } } as const;
  const rungs = { warnAtPercent: 25, fallbackAtPercent: 50, withoutToolsAtPercent: 75, fallbackModel };

  async function reached(chat: Chat, runId: string) {
    const events = (await chat.log()).filter(({ runId: of, event }) => of === runId && event.type === "CUSTOM");
    return events.flatMap(({ event, audience }) =>
      event.type === "CUSTOM" && event.name === "budget.reached" ? [[event.value.action, audience]] : [],
    );
  }

  test("warns, takes a cheaper model, then no tools, then says politely that it is over", async () => {
    const chat = await product.chat();
    const budget = await make(chat.staff, { maxRuns: 4, ...rungs });
    const seen: unknown[] = [];
    for (let n = 1; n <= 4; n++) {
      const run = await chat.answered(TWO_TURNS);
      const requests = chat.requests("Please").slice(-2);
      seen.push([
        run.finishReason,
        (await reached(chat, run.id))[0]?.[0] ?? null,
        requests.at(-1)?.body.model === "a-cheaper-model",
        (requests.at(-1)?.body as { tool_choice?: string } | undefined)?.tool_choice ?? null,
        (await chat.invocations(run.id)).length,
      ]);
    }
    expect(seen).toEqual([
      ["stop", null, false, null, 1],
      ["stop", "warn", false, null, 1],
      ["stop", "fallback", true, null, 1],
      ["stop", "without_tools", true, "none", 0],
    ]);
    const before = product.models.requests.length;
    const refused = await chat.answered("Hello?");
    expect(refused).toMatchObject({ status: "completed", finishReason: "limit", usage: [], error: null });
    expect((await chat.texts()).at(-1)).toBe(BUDGET_SPENT);
    expect(await reached(chat, refused.id)).toEqual([["stop", "staff"]]);
    expect(product.models.requests).toHaveLength(before);
    expect(JSON.stringify(await chat.state("all"))).not.toContain(budget.id);

    const { rows } = await product.db.query(
      "select entry->'after'->>'action' as action from audit_log where tenant_id = $1 and action = 'budget.reached' order by seq",
      [uuidOf(chat.staff.tenantId)],
    );
    expect(rows.map(({ action }) => action)).toEqual(["warn", "fallback", "without_tools", "stop"]);
  });

  test("in the middle of a run it ends with the sentence, and what was said stands", async () => {
    const chat = await product.chat();
    const whole = await chat.answered(TWO_TURNS);
    const { rows } = await product.db.query(
      "select (usage->0->>'totalTokens')::int as tokens from steps where run_id = $1 order by step_index",
      [uuidOf(whole.id)],
    );
    const other = await product.chat();
    await make(other.staff, { maxTokens: rows[0].tokens });
    const run = await other.answered(TWO_TURNS);
    expect(run).toMatchObject({ status: "completed", finishReason: "limit" });
    expect(tokensOf(run)).toBe(rows[0].tokens);
    expect(await other.invocations(run.id)).toMatchObject([{ status: "succeeded" }]);
    expect((await other.texts()).at(-1)).toBe(BUDGET_SPENT);
  });
});

test("one visitor's budget is spent by them alone", async () => {
  const tenant = await createTestTenant(product.services, plain);
  await make(tenant.ctx, { maxRuns: 1, subject: "visitor" });
  const visitor = await visitorOf(tenant);
  const { id } = await createConversation(visitor, {});
  const ask = async (n: number) => {
    const { run } = await submit(visitor, { conversationId: id, clientMessageId: `m${n}`, text: "Hello" });
    return waitFor(async () => ((await getRun(tenant.ctx, run.id)).finishedAt ? getRun(tenant.ctx, run.id) : null), {
      describe: "the run's end",
    });
  };
  expect((await ask(1)).finishReason).toBe("stop");
  expect((await ask(2)).finishReason).toBe("limit");
  expect((await race(tenant, 1, "Hello"))[0]?.finishReason).toBe("stop");
});

describe("money", () => {
  const PRICE = { model: "m", input: 2, cachedInput: 2, output: 10 };

  /** Of a turn, by the price above. */
  const costOf = (usage: Run["usage"]) =>
    usage.reduce((sum, { inputTokens = 0, outputTokens = 0 }) => sum + inputTokens * 2 + outputTokens * 10, 0);

  async function pricedTenant(config = {}) {
    const tenant = await createTestTenant(product.services, { ...plain, ...config });
    const { models } = product.services;
    await setModelPrice(tenant.ctx, { ...PRICE, model: models.openaiModel });
    return tenant;
  }

  test("is counted by the tenant's own price, and by nobody's where a model has none", async () => {
    const priced = await pricedTenant();
    const [run] = await race(priced, 1, "Hello");
    expect(costOf(run?.usage ?? [])).toBeGreaterThan(0);
    expect(await usageOf(priced.ctx)).toMatchObject({ costMicros: costOf(run?.usage ?? []), unpriced: 0, runs: 1 });
    expect(JSON.stringify(run)).not.toContain("costMicros");

    const tenant = await createTestTenant(product.services, {
      ...plain,
      model: { provider: "auto", name: "unheard-of", settings: {} },
    });
    const [free] = await race(tenant, 1, "Hello");
    expect(await usageOf(tenant.ctx)).toMatchObject({ costMicros: 0, unpriced: tokensOf(free as Run) });
  });

  test("a budget of it is spent by one turn over at most", async () => {
    const [run] = await race(await pricedTenant(), 1, "Hello");
    const turn = costOf(run?.usage ?? []);
    const tenant = await pricedTenant();
    const budget = await make(tenant.ctx, { maxCostMicros: Math.floor(2.5 * turn) });
    const runs = await race(tenant, 12, "Hello");
    const spent = runs.reduce((sum, each) => sum + costOf(each.usage), 0);
    expect(spent).toBe(3 * turn);
    expect((await getBudget(tenant.ctx, budget.id)).current).toMatchObject({ costMicros: spent, heldCostMicros: 0 });
  });

  test("an agent's own limit of it holds for each run", async () => {
    const limits = { maxSteps: 9, maxTokens: 100_000, maxSeconds: 60 };
    for (const [maxCostMicros, finishReason, turns] of [
      [null, "stop", 3],
      [1, "limit", 1],
      [0, "limit", 1],
    ] as const) {
      const chat = await product.chat({ limits: { ...limits, maxCostMicros } });
      await setModelPrice(chat.staff, { ...PRICE, model: product.services.models.openaiModel });
      const three = say(
        "Please",
        { steps: [calls("look", "a")] },
        { steps: [calls("look", "b")] },
        { steps: [says("Ok.")] },
      );
      expect(await chat.answered(three)).toMatchObject({ status: "completed", finishReason });
      expect(chat.requests("Please")).toHaveLength(turns);
    }
  });
});

test("a call that is cancelled in the middle of its answer is paid for, by an estimate", async () => {
  const chat = await product.chat();
  const budget = await make(chat.staff, { maxTokens: 1_000_000 });
  const { id } = await chat.ask(say("Please", { steps: [says("A long beginning of an answer"), { kind: "stall" }] }));
  await waitFor(async () => ((await chat.texts()).at(-1) ? true : null), { describe: "the answer's beginning" });
  await chat.cancel(id);
  await waitFor(async () => ((await getBudget(chat.staff, budget.id)).current?.heldTokens === 0 ? true : null), {
    describe: "the estimate",
  });
  const { current } = await getBudget(chat.staff, budget.id);
  expect(current?.tokens).toBeGreaterThan(20);
  expect(await usageOf(chat.staff)).toMatchObject({ tokens: current?.tokens, estimated: current?.tokens });
});

test("a vendor that refuses is not paid", async () => {
  const chat = await product.chat();
  const budget = await make(chat.staff, { maxTokens: 1_000_000 });
  const run = await chat.answered(
    say("Please", [{ steps: [{ kind: "status", status: 503 }] }, { steps: [says("Ok.")] }]),
  );
  expect(run.status).toBe("completed");
  expect((await getBudget(chat.staff, budget.id)).current).toMatchObject({
    tokens: tokensOf(run),
    heldTokens: 0,
    runs: 1,
  });
});

test("runs of a tenant without budgets ask nothing of them, and look for rules once in seconds", async () => {
  const chat = await product.chat();
  const asked: string[] = [];
  const { db } = product.services;
  const query = db.query.bind(db);
  db.query = (statement, values) => {
    asked.push(statement.name);
    return query(statement, values);
  };
  try {
    for (let n = 0; n < 3; n++) await chat.answered(TWO_TURNS);
  } finally {
    db.query = query;
  }
  expect(asked.filter((name) => name.startsWith("budget_"))).toEqual([]);
  expect(asked.filter((name) => name === "claim_run")).toHaveLength(3);
  expect(asked.filter((name) => name === "spending_rules_of").length).toBeLessThanOrEqual(2);
});
