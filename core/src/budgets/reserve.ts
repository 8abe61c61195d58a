/** What model calls take out of budgets: before each call what it may use, after it what it did use. */
import type { BudgetAction } from "@agent-engine/protocol/events.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { atOnce } from "../db/transaction.ts";
import { idOf, uuidOf } from "../ids.ts";

/** A run as budgets see it. `epoch` is its lease's. */
export interface SpendingRun {
  runId: string;
  conversationId: string;
  agentId: string;
  visitorId: string | null;
  epoch: number;
}

/** What a call uses. `costMicros` is 0 for a model without a price. */
export interface Spent {
  tokens: number;
  costMicros: number;
}

/** Where a budget stands with the run's tenant, agent or visitor. */
export interface BudgetStanding {
  budgetId: string;
  name: string;
  subject: "tenant" | "agent" | "visitor";
  subjectId: string;
  period: "day" | "month";
  startsOn: string;
  metric: "runs" | "tokens" | "cost";
  percent: number;
  action: BudgetAction;
}

export interface Reservation {
  /** `busy`: what is left is held by calls under way. `lost`: another worker has the run. */
  outcome: "granted" | "busy" | "spent" | "lost";
  /** To settle with; 0 where no budget concerns the run. */
  number: number;
  action: BudgetAction;
  fallbackModel: ModelChoice | null;
  /** The budget that holds the run back most; null without any. */
  leading: BudgetStanding | null;
  /** Budgets that began to hold back more, for the first time in their period. */
  news: BudgetStanding[];
}

const ACTIONS = ["none", "warn", "fallback", "without_tools", "stop"] as const;

type StandingJson = Omit<BudgetStanding, "action"> & { rung: number };

const reserve = statement<{
  outcome: Reservation["outcome"];
  number: number;
  rung: number;
  fallback_model: ModelChoice | null;
  foremost: StandingJson | null;
  news: StandingJson[] | null;
}>("budget_reserve", "select * from reserve_budget($1, $2, $3, $4, $5, $6, $7, $8, $9)");

/** Takes what a call may use at most out of every budget that concerns the run, or out of none; in one round trip. */
export async function reserveBudget(ctx: Ctx, run: SpendingRun, estimate: Spent): Promise<Reservation> {
  const [row] = await atOnce(ctx.services.db, (tx) =>
    tx.query(reserve, [
      uuidOf(ctx.tenantId),
      uuidOf(run.runId),
      uuidOf(run.conversationId),
      uuidOf(run.agentId),
      run.visitorId === null ? null : uuidOf(run.visitorId),
      run.epoch,
      new Date(ctx.services.clock()),
      estimate.tokens,
      estimate.costMicros,
    ]),
  );
  if (!row) throw new Error("the budgets did not answer");
  return {
    outcome: row.outcome,
    number: row.number,
    action: ACTIONS[row.rung] ?? "none",
    fallbackModel: row.fallback_model,
    leading: row.foremost === null ? null : standingOf(row.foremost),
    news: (row.news ?? []).map(standingOf),
  };
}

function standingOf({ rung, ...json }: StandingJson): BudgetStanding {
  return {
    ...json,
    budgetId: idOf("budget", json.budgetId),
    subjectId: idOf(json.subject, json.subjectId),
    action: ACTIONS[rung] ?? "none",
  };
}

export interface Settlement {
  /** The reservation's. */
  number: number;
  stepIndex: number;
  spent: Spent;
  /** For a call whose usage no step will tell of; null: the step does. `costMicros` is null without a price. */
  estimate: {
    provider: string;
    model: string;
    inputTokens: number;
    outputTokens: number;
    costMicros: number | null;
  } | null;
}

const settle = statement<{ settled: boolean }>(
  "budget_settle",
  "select settle_budget($1, $2, $3, $4, $5, $6, $7, $8, $9) as settled",
);

/** Puts what a call used in the place of what was held for it; once, however often it is repeated. */
export async function settleBudget(ctx: Ctx, run: SpendingRun, settlement: Settlement): Promise<boolean> {
  const { number, stepIndex, spent, estimate } = settlement;
  const [row] = await atOnce(ctx.services.db, (tx) =>
    tx.query(settle, [
      uuidOf(ctx.tenantId),
      uuidOf(run.runId),
      number,
      uuidOf(run.agentId),
      run.visitorId === null ? null : uuidOf(run.visitorId),
      stepIndex,
      spent.tokens,
      spent.costMicros,
      estimate === null ? null : JSON.stringify(estimate),
    ]),
  );
  return row?.settled ?? false;
}
