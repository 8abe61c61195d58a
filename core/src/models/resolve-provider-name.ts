import type { ModelProviderName } from "@agent-engine/protocol/resources.ts";
import type { Config } from "../config/env.ts";

export type ResolvedProviderName = Exclude<ModelProviderName, "auto">;

/** What `auto` means with these keys; every other name means itself. Resolved for each run, never stored. */
export function resolveProviderName(provider: ModelProviderName, models: Config["models"]): ResolvedProviderName {
  if (provider !== "auto") return provider;
  if (models.openaiApiKey !== null || models.openaiBaseUrl !== null) return "openai";
  return models.anthropicApiKey !== null ? "anthropic" : "extractive";
}
