import type { TokenUsage } from "@agent-engine/protocol/events.ts";

const COUNTS = ["inputTokens", "outputTokens", "totalTokens", "reasoningTokens", "cachedInputTokens"] as const;

/** Adds a turn's usage to a run's: one entry for each model. */
export function addUsage(usage: readonly TokenUsage[], turn: TokenUsage): TokenUsage[] {
  const index = usage.findIndex((entry) => entry.provider === turn.provider && entry.model === turn.model);
  const before = usage[index];
  if (!before) return [...usage, turn];
  const sum: TokenUsage = { ...before };
  for (const count of COUNTS) {
    if (before[count] !== undefined || turn[count] !== undefined)
      sum[count] = (before[count] ?? 0) + (turn[count] ?? 0);
  }
  return usage.with(index, sum);
}

/** Input and output tokens together, as limits count them. */
export function tokensOf(usage: readonly TokenUsage[]): number {
  return usage.reduce(
    (sum, entry) => sum + (entry.totalTokens ?? (entry.inputTokens ?? 0) + (entry.outputTokens ?? 0)),
    0,
  );
}

/** What is left of a run's usage after these turns: the usage of the turn that is not among them. */
export function withoutTurns(usage: readonly TokenUsage[], turns: readonly TokenUsage[]): TokenUsage[] {
  return usage
    .map((entry) => {
      const rest: TokenUsage = { ...entry };
      for (const turn of turns) {
        if (turn.provider !== entry.provider || turn.model !== entry.model) continue;
        for (const count of COUNTS) if (rest[count] !== undefined) rest[count] -= turn[count] ?? 0;
      }
      return rest;
    })
    .filter((entry) => COUNTS.some((count) => (entry[count] ?? 0) > 0));
}
