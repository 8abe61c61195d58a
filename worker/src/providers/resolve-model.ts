import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import type { Config } from "@agent-engine/core/config/env.ts";
import { resolveProviderName } from "@agent-engine/core/models/resolve-provider-name.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import type { Circuit } from "../engine/circuit.ts";
import type { ModelProvider } from "../engine/model-provider.ts";
import type { Egress } from "../toolkits/egress.ts";
import { aiSdkProvider } from "./ai-sdk-provider.ts";
import { chatProvider } from "./chat-provider.ts";
import { extractiveModel, type ExtractivePace } from "./extractive/model.ts";
import { classifyModelFailure, ModelNotConfigured } from "./model-failure.ts";

/** A tenant's own keys; they win over the installation's. */
export interface ModelSecrets {
  openaiApiKey?: string;
  anthropicApiKey?: string;
  /** For `openai-compatible`. */
  apiKey?: string;
}

export interface ModelSources {
  models: Config["models"];
  /** For addresses that a tenant chose. */
  egress: Egress;
  /** For the vendors and for the base URL of the installation's own configuration. */
  vendorFetch: typeof globalThis.fetch;
  secrets?: ModelSecrets;
  stall?: ModelProvider["stall"];
  /** The circuit of a provider at a host, for the run's tenant. */
  circuitOf?: (provider: string, host: string) => Circuit;
  extractivePace?: ExtractivePace;
}

/** SDKs insist on a key, and take one from the environment when they get none; servers without keys ignore it. */
const NO_KEY = "none";

/** The model of a run. Never throws: what is not configured fails when it is used, as a permanent failure. */
export function resolveModel(choice: ModelChoice, sources: ModelSources): ModelProvider {
  const { models, secrets = {}, vendorFetch } = sources;
  const stall = sources.stall ? { stall: sources.stall } : {};
  const name = resolveProviderName(choice.provider, models);
  const at = (baseUrl: string) => ({ ...stall, circuit: sources.circuitOf?.(name, new URL(baseUrl).host) });
  switch (name) {
    case "openai": {
      const apiKey = secrets.openaiApiKey ?? models.openaiApiKey;
      const baseURL = models.openaiBaseUrl ?? "https://api.openai.com/v1";
      if (apiKey === null && models.openaiBaseUrl === null) return notConfigured(name, "OPENAI_API_KEY is not set.");
      const open = (fetch: typeof globalThis.fetch) =>
        createOpenAI({ apiKey: apiKey ?? NO_KEY, baseURL, fetch }).chat(choice.name ?? models.openaiModel);
      return chatProvider(name, open, vendorFetch, at(baseURL));
    }
    case "anthropic": {
      const apiKey = secrets.anthropicApiKey ?? models.anthropicApiKey;
      if (apiKey === null) return notConfigured(name, "ANTHROPIC_API_KEY is not set.");
      const baseURL = "https://api.anthropic.com/v1";
      const anthropic = createAnthropic({ apiKey, baseURL, fetch: vendorFetch });
      return aiSdkProvider(name, anthropic.messages(choice.name ?? models.anthropicModel), at(baseURL));
    }
    case "openai-compatible": {
      const { baseUrl } = choice.settings;
      const modelName = choice.name;
      if (!baseUrl) return notConfigured(name, "The agent's model has no base URL.");
      if (modelName === null) return notConfigured(name, "The agent's model has no name.");
      const settings = { name: "openaiCompatible", baseURL: baseUrl, includeUsage: true };
      const key = secrets.apiKey === undefined ? {} : { apiKey: secrets.apiKey };
      const open = (fetch: typeof globalThis.fetch) =>
        createOpenAICompatible({ ...settings, ...key, fetch }).chatModel(modelName);
      return chatProvider(name, open, sources.egress.fetch, at(baseUrl));
    }
    case "extractive":
      return aiSdkProvider(name, extractiveModel(sources.extractivePace), stall);
  }
}

function notConfigured(provider: string, message: string): ModelProvider {
  return {
    provider,
    modelId: "none",
    stall: { firstPartMs: 1_000, gapMs: 1_000 },
    stream: () => Promise.reject(new ModelNotConfigured(message)),
    classifyFailure: (error) => classifyModelFailure(error, Date.now()),
  };
}
