import { USAGE_COUNTS } from "@agent-engine/core/runs/usage.ts";
import type { TokenUsage } from "@agent-engine/protocol/events.ts";

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
        for (const count of USAGE_COUNTS) if (rest[count] !== undefined) rest[count] -= turn[count] ?? 0;
      }
      return rest;
    })
    .filter((entry) => USAGE_COUNTS.some((count) => (entry[count] ?? 0) > 0));
}
