import type { ModelProviderName } from "@agent-engine/protocol/resources.ts";
import type { Config } from "../config/env.ts";

export type ResolvedProviderName = Exclude<ModelProviderName, "auto">;

/** Vendors at which the tenant may have a key of its own. */
export type OwnProvider = "openai" | "anthropic";

/**
 * What `auto` means with these keys, the tenant's own before the installation's; every other name means itself.
 * Resolved for each run, never stored.
 */
export function resolveProviderName(
  provider: ModelProviderName,
  models: Config["models"],
  hasOwnKey: (provider: OwnProvider) => boolean = () => false,
): ResolvedProviderName {
  if (provider !== "auto") return provider;
  if (hasOwnKey("openai")) return "openai";
  if (hasOwnKey("anthropic")) return "anthropic";
  if (models.openaiApiKey !== null || models.openaiBaseUrl !== null) return "openai";
  return models.anthropicApiKey !== null ? "anthropic" : "extractive";
}
