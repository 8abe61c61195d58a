import type { Budget } from "@agent-engine/protocol/budgets.ts";
import type { Page } from "@agent-engine/protocol/resources.ts";
import type { Ctx } from "../context.ts";
import { cursorUuid, pageOf, type PageRequest } from "../db/page.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";
import { BUDGET_COLUMNS, toBudget, type BudgetRow } from "./budget-row.ts";

const list = statement<BudgetRow>(
  "budgets_list",
  `select ${BUDGET_COLUMNS} from budgets b where b.tenant_id = $2 and b.id < $3 order by b.id desc limit $4`,
);

/** The tenant's budgets, newest first, with what is used of them. */
export async function listBudgets(ctx: Ctx, page: PageRequest): Promise<Page<Budget>> {
  const below = cursorUuid("budget", page.cursor);
  const values = [new Date(ctx.services.clock()), uuidOf(ctx.tenantId), below, page.limit + 1];
  const rows = await transact(ctx, (tx) => tx.query(list, values));
  return pageOf(rows, page, toBudget);
}
