import type { Budget, BudgetPeriod, BudgetSubject } from "@agent-engine/protocol/budgets.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import { idOf } from "../ids.ts";

export interface BudgetRow {
  id: string;
  name: string;
  subject: BudgetSubject;
  subject_id: string | null;
  period: BudgetPeriod;
  max_runs: string | null;
  max_tokens: string | null;
  max_cost_micros: string | null;
  warn_at: number | null;
  fallback_at: number | null;
  without_tools_at: number | null;
  fallback_model: ModelChoice | null;
  created_at: Date;
  /** Of its period, where anything was used in it. */
  current: {
    startsOn: string;
    runs: number;
    tokens: number;
    costMicros: number;
    heldTokens: number;
    heldCostMicros: number;
  } | null;
}

/** A budget and its state; `$1` is the time of which the period is asked for. */
export const BUDGET_COLUMNS = `b.id, b.name, b.subject, b.subject_id, b.period, b.max_runs, b.max_tokens, b.max_cost_micros,
  b.warn_at, b.fallback_at, b.without_tools_at, b.fallback_model, b.created_at,
  (select json_build_object('startsOn', p.starts_on, 'runs', p.runs, 'tokens', p.tokens, 'costMicros', p.cost_micros,
     'heldTokens', p.held_tokens, 'heldCostMicros', p.held_cost_micros)
   from budget_periods p where p.budget_id = b.id and p.starts_on = date_trunc(b.period, $1::timestamptz at time zone 'utc')::date
     and p.subject_id = case b.subject when 'tenant' then b.tenant_id else b.subject_id end) as current`;

export function toBudget(row: BudgetRow): Budget {
  return {
    id: idOf("budget", row.id),
    name: row.name,
    subject: row.subject,
    subjectId: row.subject === "tenant" || row.subject_id === null ? null : idOf(row.subject, row.subject_id),
    period: row.period,
    maxRuns: numberOf(row.max_runs),
    maxTokens: numberOf(row.max_tokens),
    maxCostMicros: numberOf(row.max_cost_micros),
    warnAtPercent: row.warn_at,
    fallbackAtPercent: row.fallback_at,
    withoutToolsAtPercent: row.without_tools_at,
    fallbackModel: row.fallback_model,
    current: row.current,
    createdAt: row.created_at.toISOString(),
  };
}

function numberOf(bigint: string | null): number | null {
  return bigint === null ? null : Number(bigint);
}
