import type { Budget } from "@agent-engine/protocol/budgets.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { notFound } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { BUDGET_COLUMNS, toBudget, type BudgetRow } from "./budget-row.ts";

const find = statement<BudgetRow>("budget_find", `select ${BUDGET_COLUMNS} from budgets b where b.id = $2`);

export async function getBudget(ctx: Ctx, budgetId: string): Promise<Budget> {
  const id = parseId("budget", budgetId, "budget");
  const values = [new Date(ctx.services.clock()), uuidOf(id)];
  const [row] = await transact(ctx, (tx) => tx.query(find, values));
  if (!row) throw notFound("budget");
  return toBudget(row);
}
