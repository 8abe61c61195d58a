import type { ModelChoice, ModelProviderName } from "@agent-engine/protocol/resources.ts";

/** The providers this installation has keys or an address for. */
export interface AvailableModels {
  openaiApiKey: string | null;
  openaiBaseUrl: string | null;
  anthropicApiKey: string | null;
}

/** What `auto` stands for here: OpenAI or what speaks like it, then Anthropic, else quoting the documents. */
export function resolveProviderName(choice: ModelChoice, models: AvailableModels): Exclude<ModelProviderName, "auto"> {
  if (choice.provider !== "auto") return choice.provider;
  if (models.openaiApiKey !== null || models.openaiBaseUrl !== null) return "openai";
  return models.anthropicApiKey !== null ? "anthropic" : "extractive";
}
