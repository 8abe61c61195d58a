import type { Budget, BudgetSubject } from "@agent-engine/protocol/budgets.ts";
import { audit } from "../audit/audit.ts";
import type { Ctx } from "../context.ts";
import { jsonbOf } from "../db/jsonb.ts";
import { statement } from "../db/statement.ts";
import { transact, type Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { parseId, uuidOf } from "../ids.ts";
import { checkBudget } from "./check-budget.ts";
import { getBudget } from "./get-budget.ts";

export type CreateBudget = Omit<Budget, "id" | "current" | "createdAt">;

const MAX_BUDGETS = 100;

const count = statement<{ budgets: string }>(
  "budgets_count",
  "select count(*) as budgets from budgets where tenant_id = $1",
);
const findAgent = statement("budget_agent", "select 1 from agents where id = $1");
const findVisitor = statement("budget_visitor", "select 1 from visitors where id = $1");
const insert = statement(
  "budget_insert",
  `insert into budgets (id, tenant_id, name, subject, subject_id, period, max_runs, max_tokens, max_cost_micros, warn_at,
     fallback_at, without_tools_at, fallback_model, created_at)
   values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
);

/** Makes a budget, which counts from the next model call on, what was used in its period before included. */
export async function createBudget(ctx: Ctx, input: CreateBudget): Promise<Budget> {
  const { services, tenantId } = ctx;
  checkBudget(input);
  const id = services.newId("budget");
  return transact(ctx, async (tx) => {
    const subjectId = await findSubject(tx, input.subject, input.subjectId);
    const [row] = await tx.query(count, [uuidOf(tenantId)]);
    if (Number(row?.budgets) >= MAX_BUDGETS) {
      throw new ProblemError("conflict", `A tenant has at most ${MAX_BUDGETS} budgets. Delete one you do not need.`);
    }
    await tx.query(insert, [
      uuidOf(id),
      uuidOf(tenantId),
      input.name,
      input.subject,
      subjectId === null ? null : uuidOf(subjectId),
      input.period,
      input.maxRuns,
      input.maxTokens,
      input.maxCostMicros,
      input.warnAtPercent,
      input.fallbackAtPercent,
      input.withoutToolsAtPercent,
      input.fallbackModel === null ? null : jsonbOf(input.fallbackModel),
      new Date(services.clock()),
    ]);
    const created = await getBudget({ ...ctx, tx }, id);
    await audit(ctx, tx, { action: "budget.created", target: { kind: "budget", id }, after: { ...created } });
    tx.afterCommit(() => services.bus.control.publish({ kind: "spending.changed", tenantId }));
    return created;
  });
}

/** The id of an agent or visitor of this tenant; null for each of them, and for the tenant. */
async function findSubject(tx: Tx, subject: BudgetSubject, subjectId: string | null): Promise<string | null> {
  if (subjectId === null) return null;
  if (subject === "tenant") {
    throw new ProblemError("invalid_request", "`subjectId` is for budgets of an agent or a visitor. Leave it out.");
  }
  const id = parseId(subject, subjectId, subject);
  const rows = await tx.query(subject === "agent" ? findAgent : findVisitor, [uuidOf(id)]);
  if (rows.length === 0) throw notFound(subject);
  return id;
}
