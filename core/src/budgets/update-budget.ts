import type { Budget } from "@agent-engine/protocol/budgets.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { checkBudget } from "./check-budget.ts";
import type { CreateBudget } from "./create-budget.ts";
import { getBudget } from "./get-budget.ts";

/** Whose budget it is and for how long stays: make another one for that. */
export type UpdateBudget = {
  [Field in keyof Omit<CreateBudget, "subject" | "subjectId" | "period">]?: CreateBudget[Field] | undefined;
};

const lock = statement("budget_lock", "select 1 from budgets where id = $1 for no key update");
const change = statement(
  "budget_update",
  `update budgets set name = $2, max_runs = $3, max_tokens = $4, max_cost_micros = $5, warn_at = $6, fallback_at = $7,
     without_tools_at = $8, fallback_model = $9
   where id = $1`,
);
// The rungs are told again, from where the budget stands by its new measure.
const retell = statement("budget_retell", "update budget_periods set rung = 0 where budget_id = $1");

/** Replaces the fields it names, from the next model call on. */
export async function updateBudget(ctx: Ctx, input: UpdateBudget & { budgetId: string }): Promise<Budget> {
  const id = parseId("budget", input.budgetId, "budget");
  const { services, tenantId } = ctx;
  return transact(ctx, async (tx) => {
    const inTx = { ...ctx, tx };
    if ((await tx.query(lock, [uuidOf(id)])).length === 0) throw notFound("budget");
    const before = await getBudget(inTx, id);
    const { budgetId: _, ...changes } = input;
    const named = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
    const next: Budget = { ...before, ...named };
    checkBudget(next);
    await tx.query(change, [
      uuidOf(id),
      next.name,
      next.maxRuns,
      next.maxTokens,
      next.maxCostMicros,
      next.warnAtPercent,
      next.fallbackAtPercent,
      next.withoutToolsAtPercent,
      next.fallbackModel === null ? null : jsonbOf(next.fallbackModel),
    ]);
    await tx.query(retell, [uuidOf(id)]);
    const after = await getBudget(inTx, id);
    const target = { kind: "budget", id };
    await audit(ctx, tx, { action: "budget.updated", target, before: { ...before }, after: { ...after } });
    tx.afterCommit(() => services.bus.control.publish({ kind: "spending.changed", tenantId }));
    return after;
  });
}
