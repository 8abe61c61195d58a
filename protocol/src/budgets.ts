/** Budgets, what runs have used, and what it costs. Money is in micro-dollars. */
import type { ModelChoice } from "./resources.ts";

export type BudgetSubject = "tenant" | "agent" | "visitor";
/** Days and months begin at midnight UTC. */
export type BudgetPeriod = "day" | "month";

export interface Budget {
  id: string;
  name: string;
  subject: BudgetSubject;
  /** Which agent or visitor; null: each one by itself. */
  subjectId: string | null;
  period: BudgetPeriod;
  /** At least one is a number. */
  maxRuns: number | null;
  maxTokens: number | null;
  maxCostMicros: number | null;
  /** Per cent of a maximum from which on something is done; null: never. */
  warnAtPercent: number | null;
  fallbackAtPercent: number | null;
  withoutToolsAtPercent: number | null;
  /** Instead of the agent's from `fallbackAtPercent` on. */
  fallbackModel: ModelChoice | null;
  /** Of the day or month that it is now; null where nothing was used yet, and for a budget of each. */
  current: BudgetState | null;
  createdAt: string;
}

export interface BudgetState {
  /** ISO 8601 date. */
  startsOn: string;
  runs: number;
  tokens: number;
  costMicros: number;
  /** What model calls under way may use besides. */
  heldTokens: number;
  heldCostMicros: number;
}

/** A tenant's own price of a model, in micro-dollars a token, which is dollars a million tokens. */
export interface ModelPrice {
  id: string;
  model: string;
  input: number;
  cachedInput: number;
  output: number;
  createdAt: string;
}

export type UsageGroup = "tenant" | "agent" | "visitor" | "model";

/** What was used in one day or month; only the fields of the group that was asked for are set. */
export interface UsageRow {
  /** ISO 8601 date: the day, or the month's first. */
  startsOn: string;
  agentId: string | null;
  visitorId: string | null;
  provider: string | null;
  model: string | null;
  /** Runs and model turns in them. */
  runs: number;
  turns: number;
  inputTokens: number;
  outputTokens: number;
  totalTokens: number;
  reasoningTokens: number;
  cachedInputTokens: number;
  costMicros: number;
  /** Of models without a price: they are not in `costMicros`. */
  unpricedTokens: number;
  /** Of turns that were cut short before the vendor said what they used. */
  estimatedTokens: number;
}
