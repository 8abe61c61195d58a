import type { TokenUsage } from "@agent-engine/protocol/events.ts";

export const USAGE_COUNTS = [
  "inputTokens",
  "outputTokens",
  "totalTokens",
  "reasoningTokens",
  "cachedInputTokens",
] as const;

/** As the log and the API tell it: what a turn cost is stored with its step, and is no visitor's business. */
export function withoutCost(usage: TokenUsage & { costMicros?: number }): TokenUsage {
  const { costMicros: _, ...others } = usage;
  return others;
}

/** Adds a turn's usage to a run's: one entry for each model. */
export function addUsage(usage: readonly TokenUsage[], turn: TokenUsage): TokenUsage[] {
  const index = usage.findIndex((entry) => entry.provider === turn.provider && entry.model === turn.model);
  const before = usage[index];
  if (!before) return [...usage, turn];
  const sum: TokenUsage = { ...before };
  for (const count of USAGE_COUNTS) {
    if (before[count] !== undefined || turn[count] !== undefined)
      sum[count] = (before[count] ?? 0) + (turn[count] ?? 0);
  }
  return usage.with(index, sum);
}
