import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { statement } from "../db/statement.ts";
import { transact } from "../db/transaction.ts";
import { parseId, uuidOf } from "../ids.ts";
import { getBudget } from "./get-budget.ts";

const remove = statement("budget_delete", "delete from budgets where id = $1");

/** Nothing is held back by it any more, from the next model call on. What was used stays on the account. */
export async function deleteBudget(ctx: Ctx, budgetId: string): Promise<void> {
  const id = parseId("budget", budgetId, "budget");
  const { services, tenantId } = ctx;
  await transact(ctx, async (tx) => {
    const before = await getBudget({ ...ctx, tx }, id);
    await tx.query(remove, [uuidOf(id)]);
    await audit(ctx, tx, { action: "budget.deleted", target: { kind: "budget", id }, before: { ...before } });
    tx.afterCommit(() => services.bus.control.publish({ kind: "spending.changed", tenantId }));
  });
}
