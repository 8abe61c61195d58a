import type { Budget } from "@agent-engine/protocol/budgets.ts";
import { openSpine, openTenant, startConversation, visitorOf, type Spine } from "@agent-engine/testing/spine.ts";
import type { TestTenant } from "@agent-engine/testing/tenants.ts";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { Ctx } from "../context.ts";
import { newId, uuidOf } from "../ids.ts";
import { createBudget, type CreateBudget } from "./create-budget.ts";
import { deleteBudget } from "./delete-budget.ts";
import { getBudget } from "./get-budget.ts";
import { reserveBudget, settleBudget, type Reservation, type SpendingRun } from "./reserve.ts";
import { updateBudget } from "./update-budget.ts";

let spine: Spine;
let tenant: TestTenant;

beforeAll(async () => {
  spine = await openSpine();
});
afterAll(() => spine.close());
beforeEach(async () => {
  tenant = await openTenant(spine);
});

const make = (input: Partial<CreateBudget>, ctx: Ctx = tenant.ctx): Promise<Budget> =>
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

/** A run under way, as its conversation's head says. */
async function begin(of: Partial<SpendingRun> = {}): Promise<SpendingRun> {
  const run = {
    runId: newId("run"),
    conversationId: await startConversation(tenant),
    agentId: tenant.agentId as string,
    visitorId: null,
    epoch: 1,
    ...of,
  };
  await lead(run);
  return run;
}

const lead = (run: SpendingRun) =>
  spine.owner.query("update conversation_heads set run_id = $2, epoch = $3 where conversation_id = $1", [
    uuidOf(run.conversationId),
    uuidOf(run.runId),
    run.epoch,
  ]);

const leave = (run: SpendingRun) =>
  spine.owner.query("update conversation_heads set run_id = null, epoch = epoch + 1 where conversation_id = $1", [
    uuidOf(run.conversationId),
  ]);

const take = (run: SpendingRun, tokens: number, costMicros = 0): Promise<Reservation> =>
  reserveBudget(tenant.ctx, run, { tokens, costMicros });

const use = (run: SpendingRun, { number }: Pick<Reservation, "number">, tokens: number, costMicros = 0) =>
  settleBudget(tenant.ctx, run, { number, stepIndex: 0, spent: { tokens, costMicros }, estimate: null });

/** Whoever made the calls of these runs is gone for good. */
const age = (runs: readonly SpendingRun[]) =>
  spine.owner.query("update budget_holds set stale_since = now() - interval '1 minute' where run_id = any($1)", [
    runs.map(({ runId }) => uuidOf(runId)),
  ]);

const current = async ({ id }: Budget) => (await getBudget(tenant.ctx, id)).current;

describe("a model call", () => {
  test("takes its most, and gives back what it did not use", async () => {
    const budget = await make({ maxTokens: 1_000, maxCostMicros: 5_000 });
    const run = await begin();
    const granted = await take(run, 600, 3_000);
    expect(granted).toMatchObject({ outcome: "granted", action: "none" });
    expect(await current(budget)).toMatchObject({ runs: 1, tokens: 0, heldTokens: 600, heldCostMicros: 3_000 });
    expect(await use(run, granted, 100, 400)).toBe(true);
    expect(await current(budget)).toMatchObject({
      runs: 1,
      tokens: 100,
      costMicros: 400,
      heldTokens: 0,
      heldCostMicros: 0,
    });
  });

  test("is counted once, however often it is said", async () => {
    const budget = await make({ maxTokens: 1_000 });
    const run = await begin();
    const first = await take(run, 600);
    expect(await use(run, first, 100)).toBe(true);
    expect(await use(run, first, 100)).toBe(false);
    const second = await take(run, 600);
    expect(await use(run, first, 100)).toBe(false);
    expect(await use(run, second, 50)).toBe(true);
    expect(await current(budget)).toMatchObject({ runs: 1, tokens: 150, heldTokens: 0 });
  });

  test("waits while others hold what is left, and is refused once it is used", async () => {
    await make({ maxTokens: 1_000 });
    const [one, other] = [await begin(), await begin()];
    const granted = await take(one, 700);
    expect(await take(other, 400)).toMatchObject({ outcome: "busy", leading: { metric: "tokens", percent: 70 } });
    expect((await take(other, 300)).outcome).toBe("granted");
    await use(one, granted, 1_000);
    expect(await take(await begin(), 1)).toMatchObject({ outcome: "spent", action: "stop", leading: { percent: 130 } });
  });

  test("that fits nowhere is granted alone: the budget is used to its end", async () => {
    await make({ maxTokens: 100 });
    const [one, other] = [await begin(), await begin()];
    const granted = await take(one, 9_000);
    expect(granted.outcome).toBe("granted");
    expect((await take(other, 9_000)).outcome).toBe("busy");
    await use(one, granted, 99);
    expect((await take(other, 9_000)).outcome).toBe("granted");
  });

  test("comes out of every budget that concerns it, or out of none", async () => {
    const wide = await make({ maxTokens: 1_000 });
    const narrow = await make({ maxTokens: 10, subject: "agent", subjectId: tenant.agentId });
    const elsewhere = await make({ maxTokens: 1, subject: "visitor" });
    const run = await begin();
    await use(run, await take(run, 5), 10);
    expect((await take(await begin(), 5)).outcome).toBe("spent");
    expect(await current(wide)).toMatchObject({ tokens: 10, heldTokens: 0, runs: 1 });
    expect(await current(narrow)).toMatchObject({ tokens: 10, heldTokens: 0, runs: 1 });
    expect(await current(elsewhere)).toBeNull();
  });

  test("of a run that nothing concerns leaves no trace", async () => {
    await make({ maxTokens: 10, subject: "visitor" });
    expect(await take(await begin(), 500)).toEqual({
      outcome: "granted",
      number: 0,
      action: "none",
      fallbackModel: null,
      leading: null,
      news: [],
    });
    const { rows } = await spine.owner.query("select 1 from budget_holds where tenant_id = $1", [uuidOf(tenant.id)]);
    expect(rows).toEqual([]);
  });
});

describe("whoever made a call and is gone", () => {
  test("holds nothing once another worker goes on with the run", async () => {
    const budget = await make({ maxTokens: 1_000 });
    const dead = await begin();
    const lost = await take(dead, 900);
    const next = { ...dead, epoch: 2 };
    await lead(next);
    expect((await take(next, 300)).outcome).toBe("granted");
    expect(await current(budget)).toMatchObject({ heldTokens: 300, runs: 1 });
    expect(await use(dead, lost, 50)).toBe(false);
    expect((await take(dead, 10)).outcome).toBe("lost");
  });

  test("holds nothing once its run is over and nobody has said for a while what was used", async () => {
    const budget = await make({ maxTokens: 1_000 });
    const dead = await begin();
    await take(dead, 900);
    const other = await begin();
    await leave(dead);
    expect((await take(other, 300)).outcome).toBe("busy");
    await age([dead]);
    expect((await take(other, 300)).outcome).toBe("granted");
    expect(await current(budget)).toMatchObject({ heldTokens: 300, tokens: 0, runs: 2 });
  });

  test("may still say what a cancelled call used", async () => {
    const budget = await make({ maxTokens: 1_000 });
    const run = await begin();
    const granted = await take(run, 900);
    await leave(run);
    await settleBudget(tenant.ctx, run, {
      number: granted.number,
      stepIndex: 0,
      spent: { tokens: 80, costMicros: 0 },
      estimate: { provider: "openai", model: "m", inputTokens: 60, outputTokens: 20, costMicros: null },
    });
    expect(await current(budget)).toMatchObject({ tokens: 80, heldTokens: 0 });
    const { rows } = await spine.owner.query("select total_tokens, is_estimated from usage where run_id = $1", [
      uuidOf(run.runId),
    ]);
    expect(rows).toEqual([{ total_tokens: "80", is_estimated: true }]);
  });
});

describe("the ladder", () => {
  const cheap = { provider: "openai", name: "cheap", settings: {} } as const;

  test("is climbed rung by rung, each told once in the period", async () => {
    const rungs = { warnAtPercent: 50, fallbackAtPercent: 70, withoutToolsAtPercent: 90, fallbackModel: cheap };
    const budget = await make({ maxTokens: 100, ...rungs });
    const run = await begin();
    const seen: unknown[] = [];
    for (const tokens of [49, 1, 20, 0, 20, 10]) {
      const granted = await take(run, 1);
      seen.push([
        granted.outcome,
        granted.action,
        granted.fallbackModel?.name ?? null,
        granted.news.map(({ action }) => action),
      ]);
      await use(run, granted, tokens);
    }
    expect(seen).toEqual([
      ["granted", "none", null, []],
      ["granted", "none", null, []],
      ["granted", "warn", null, ["warn"]],
      ["granted", "fallback", "cheap", ["fallback"]],
      ["granted", "fallback", "cheap", []],
      ["granted", "without_tools", "cheap", ["without_tools"]],
    ]);
    const refused = await take(await begin(), 1);
    expect(refused).toMatchObject({ outcome: "spent", news: [{ budgetId: budget.id, action: "stop", percent: 100 }] });
    expect((await take(await begin(), 1)).news).toEqual([]);
  });

  test("leaves out the rungs that a budget does not have", async () => {
    await make({ maxTokens: 100, warnAtPercent: null, fallbackAtPercent: 50, withoutToolsAtPercent: null });
    const run = await begin();
    await use(run, await take(run, 1), 99);
    expect(await take(run, 1)).toMatchObject({ outcome: "granted", action: "none", news: [] });
  });

  test("a budget that is raised is climbed anew", async () => {
    const budget = await make({ maxTokens: 100, warnAtPercent: 50 });
    const run = await begin();
    await use(run, await take(run, 1), 100);
    expect((await take(run, 1)).outcome).toBe("spent");
    await updateBudget(tenant.ctx, { budgetId: budget.id, maxTokens: 150 });
    expect(await take(run, 1)).toMatchObject({ outcome: "granted", action: "warn", news: [{ action: "warn" }] });
    await deleteBudget(tenant.ctx, budget.id);
    expect(await take(run, 1_000_000)).toMatchObject({ outcome: "granted", number: 0 });
  });
});

describe("runs", () => {
  test("are counted once each, and one that has begun goes on", async () => {
    const budget = await make({ maxRuns: 2 });
    const [one, other] = [await begin(), await begin()];
    for (const run of [one, other, one]) await use(run, await take(run, 10), 10);
    expect((await take(await begin(), 10)).outcome).toBe("spent");
    expect((await take(one, 10)).outcome).toBe("granted");
    expect(await current(budget)).toMatchObject({ runs: 2 });
  });

  test("of each visitor are counted for themselves", async () => {
    await make({ maxRuns: 1, subject: "visitor" });
    const visitorId = async () => ((await visitorOf(tenant)).actor as { visitorId: string }).visitorId;
    const [ada, bob] = [await visitorId(), await visitorId()];
    const first = await begin({ visitorId: ada });
    await use(first, await take(first, 1), 1);
    expect((await take(await begin({ visitorId: ada }), 1)).outcome).toBe("spent");
    expect((await take(await begin({ visitorId: bob }), 1)).outcome).toBe("granted");
  });

  test("0 is none", async () => {
    await make({ maxRuns: 0 });
    expect((await take(await begin(), 1)).outcome).toBe("spent");
  });
});

describe("days and months begin at midnight UTC", () => {
  const at = (time: string): Ctx => ({
    ...tenant.ctx,
    services: { ...tenant.ctx.services, clock: () => Date.parse(time) },
  });

  test.each([
    ["day", "2027-03-28T00:00:00.000Z", "2027-03-28T23:59:59.999Z", "2027-03-29T00:00:00.000Z"],
    ["day", "2028-02-28T00:00:00.000Z", "2028-02-28T23:59:59.999Z", "2028-02-29T00:00:00.000Z"],
    ["day", "2027-12-31T00:00:00.000Z", "2027-12-31T23:59:59.999Z", "2028-01-01T00:00:00.000Z"],
    ["month", "2027-01-01T00:00:00.000Z", "2027-01-31T23:59:59.999Z", "2027-02-01T00:00:00.000Z"],
    ["month", "2028-02-01T00:00:00.000Z", "2028-02-29T23:59:59.999Z", "2028-03-01T00:00:00.000Z"],
    ["month", "2027-12-01T00:00:00.000Z", "2027-12-31T23:59:59.999Z", "2028-01-01T00:00:00.000Z"],
  ] as const)("a %s from %s to %s", async (period, first, last, next) => {
    const budget = await make({ maxTokens: 10, period });
    const run = await begin();
    await use(run, await reserveBudget(at(first), run, { tokens: 1, costMicros: 0 }), 10);
    expect((await reserveBudget(at(last), run, { tokens: 1, costMicros: 0 })).outcome).toBe("spent");
    expect((await getBudget(at(last), budget.id)).current).toMatchObject({ startsOn: first.slice(0, 10), tokens: 10 });
    expect((await getBudget(at(next), budget.id)).current).toBeNull();
    const later = await begin();
    expect((await reserveBudget(at(next), later, { tokens: 1, costMicros: 0 })).outcome).toBe("granted");
    expect((await getBudget(at(next), budget.id)).current).toMatchObject({
      startsOn: next.slice(0, 10),
      heldTokens: 1,
    });
  });

  test("a call that ends on the next day is counted where it began", async () => {
    const budget = await make({ maxTokens: 10 });
    const run = await begin();
    const granted = await reserveBudget(at("2027-05-01T23:59:59.999Z"), run, { tokens: 5, costMicros: 0 });
    await settleBudget(at("2027-05-02T00:00:01.000Z"), run, {
      number: granted.number,
      stepIndex: 0,
      spent: { tokens: 7, costMicros: 0 },
      estimate: null,
    });
    expect((await getBudget(at("2027-05-01T12:00:00.000Z"), budget.id)).current).toMatchObject({
      tokens: 7,
      heldTokens: 0,
    });
    expect((await getBudget(at("2027-05-02T12:00:00.000Z"), budget.id)).current).toBeNull();
  });
});

test("twenty calls at once on a budget for three: what is spent is over it by one call at most", async () => {
  for (const [maxTokens, estimate, actual] of [
    [300, 100, 100],
    [250, 100, 100],
    [300, 5_000, 100],
    [250, 5_000, 100],
    [300, 120, 100],
  ] as const) {
    tenant = await openTenant(spine);
    const budget = await make({ maxTokens });
    const runs = await Promise.all(Array.from({ length: 20 }, () => begin()));
    let made = 0;
    await Promise.all(
      runs.map(async (run) => {
        for (;;) {
          const answer = await take(run, estimate);
          if (answer.outcome === "spent") return;
          if (answer.outcome !== "granted") continue;
          made++;
          await use(run, answer, actual);
          return;
        }
      }),
    );
    expect(made, `${maxTokens} of ${estimate}`).toBe(3);
    expect(await current(budget)).toMatchObject({ tokens: 300, heldTokens: 0 });
  }
});

test("the account is right whatever happens: what is held is held by somebody, what is spent was used", async () => {
  const step = fc.record({
    who: fc.nat(4),
    what: fc.constantFrom("take", "take", "use", "use", "use again", "end", "take over", "die", "wait"),
    tokens: fc.integer({ min: 1, max: 400 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 600 }), fc.array(step, { maxLength: 30 }), async (maxTokens, steps) => {
      tenant = await openTenant(spine);
      const budget = await make({ maxTokens });
      const runs = await Promise.all(Array.from({ length: 5 }, () => begin()));
      const held = new Map<number, { number: number; tokens: number }>();
      const last = new Map<number, { number: number }>();
      const dead = new Map<string, { run: SpendingRun; tokens: number }>();
      let spent = 0;
      let largest = 0;
      for (const { who, what, tokens, share } of steps) {
        const run = runs[who] as SpendingRun;
        const mine = held.get(who);
        switch (what) {
          case "take": {
            if (mine) break;
            const others = [...held.values(), ...dead.values()].reduce((sum, each) => sum + each.tokens, 0);
            const { outcome, number } = await take(run, tokens);
            if (spent >= maxTokens) expect(outcome).toBe("spent");
            else if (spent + others + tokens <= maxTokens) expect(outcome).toBe("granted");
            else expect(outcome).toBe(others > 0 ? "busy" : "granted");
            if (outcome === "granted") held.set(who, { number, tokens });
            break;
          }
          case "use": {
            if (!mine) break;
            const used = Math.floor(mine.tokens * share);
            expect(await use(run, mine, used)).toBe(true);
            spent += used;
            largest = Math.max(largest, used);
            held.delete(who);
            last.set(who, mine);
            break;
          }
          case "use again": {
            const settled = last.get(who);
            if (settled) expect(await use(run, settled, tokens)).toBe(false);
            break;
          }
          case "end":
          case "die": {
            if (what === "end" && mine) break;
            await leave(run);
            if (mine) dead.set(run.runId, { run, tokens: mine.tokens });
            held.delete(who);
            last.delete(who);
            runs[who] = await begin();
            break;
          }
          case "take over": {
            const next = { ...run, epoch: run.epoch + 1 };
            await lead(next);
            if (mine) await use(next, mine, 0);
            held.delete(who);
            last.delete(who);
            runs[who] = next;
            break;
          }
          case "wait": {
            // Whoever looks finds them gone; a while later they hold nothing.
            await age([...dead.values()].map(({ run: gone }) => gone));
            const { outcome } = await take(runs[who] as SpendingRun, 1_000_000);
            if (outcome === "granted") {
              const { rows } = await spine.owner.query("select number from budget_holds where run_id = $1", [
                uuidOf((runs[who] as SpendingRun).runId),
              ]);
              await use(runs[who] as SpendingRun, { number: rows[0].number }, 0);
              held.delete(who);
            } else if (outcome === "busy" && mine) held.delete(who);
            const { rows } = await spine.owner.query(
              "select run_id from budget_holds where tenant_id = $1 and state = 'held'",
              [uuidOf(tenant.id)],
            );
            const left = new Set(rows.map(({ run_id: id }: { run_id: string }) => id.replaceAll("-", "")));
            for (const runId of dead.keys()) if (!left.has(uuidOf(runId))) dead.delete(runId);
            break;
          }
        }
        const state = await current(budget);
        const holding = [...held.values(), ...dead.values()].reduce((sum, each) => sum + each.tokens, 0);
        if (state) expect(state).toMatchObject({ tokens: spent, heldTokens: holding });
        expect(spent).toBeLessThan(maxTokens + Math.max(largest, 1));
      }
    }),
    { numRuns: 40 },
  );
});

test("a new budget counts what its period has used before it was made", async () => {
  const visitor = await visitorOf(tenant);
  const { visitorId } = visitor.actor as { visitorId: string };
  const insert = (agentId: string, visitorUuid: string | null, days: number) =>
    spine.owner.query(
      `insert into usage (tenant_id, run_id, step_index, agent_id, visitor_id, total_tokens, cost_micros, at)
       values ($1, gen_random_uuid(), 0, $2, $3, 70, 7, now() - $4 * interval '1 day')`,
      [uuidOf(tenant.id), uuidOf(agentId), visitorUuid, days],
    );
  await insert(tenant.agentId, uuidOf(visitorId), 0);
  await insert(newId("agent"), null, 0);
  await insert(tenant.agentId, uuidOf(visitorId), 40);
  const everybody = await make({ maxTokens: 1_000, period: "month" });
  const agent = await make({ maxTokens: 1_000, subject: "agent", subjectId: tenant.agentId });
  const person = await make({ maxCostMicros: 1_000, subject: "visitor", subjectId: visitorId });
  const run = await begin({ visitorId });
  await take(run, 10);
  expect(await current(everybody)).toMatchObject({ tokens: 140, costMicros: 14, runs: 3 });
  expect(await current(agent)).toMatchObject({ tokens: 70, runs: 2 });
  expect(await current(person)).toMatchObject({ costMicros: 7, runs: 2 });
});

test("another tenant's budgets hold nothing back", async () => {
  await make({ maxTokens: 0 });
  const run = await begin();
  expect((await take(run, 1)).outcome).toBe("spent");
  tenant = await openTenant(spine);
  expect((await take(await begin(), 1)).outcome).toBe("granted");
});
