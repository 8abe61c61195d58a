import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { Config } from "@agent-engine/core/config/env.ts";
import { keyFor, type ProviderKeys } from "@agent-engine/core/models/provider-keys.ts";
import { resolveProviderName } from "@agent-engine/core/models/resolve-provider-name.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import type { Circuit } from "../engine/circuit.ts";
import type { ModelProvider } from "../engine/model-provider.ts";
import type { Egress } from "@agent-engine/core/net/egress.ts";
import { aiSdkProvider } from "./ai-sdk-provider.ts";
import { chatProvider } from "./chat-provider.ts";
import { extractiveModel, type ExtractivePace } from "./extractive/model.ts";
import { createRedactor } from "@agent-engine/core/secrets/without-secrets.ts";
import { classifyModelFailure, ModelNotConfigured } from "./model-failure.ts";

export interface ModelSources {
  models: Config["models"];
  /** For addresses that a tenant chose. */
  egress: Egress;
  /** For the vendors and for the base URL of the installation's own configuration. */
  vendorFetch: typeof globalThis.fetch;
  /** The tenant's own; they win over the installation's. */
  keys?: ProviderKeys;
  stall?: ModelProvider["stall"];
  /** The circuit of a provider at a host, for the run's tenant. */
  circuitOf?: (provider: string, host: string) => Circuit;
  extractivePace?: ExtractivePace;
}

/** SDKs insist on a key, and take one from the environment when they get none; servers without keys ignore it. */
const NO_KEY = "none";

const NO_OPENAI_KEY = "There is no key for OpenAI: neither a provider key of the tenant nor OPENAI_API_KEY.";
const NO_ANTHROPIC_KEY = "There is no key for Anthropic: neither a provider key of the tenant nor ANTHROPIC_API_KEY.";
/** The installation's key is no substitute: it is somebody else who pays. */
const UNOPENABLE = "The tenant's own key for this provider cannot be opened. The log says which SECRET_KEY is missing.";

/** The model of a run. Never throws: what is not configured fails when it is used, as a permanent failure. */
export function resolveModel(choice: ModelChoice, sources: ModelSources): ModelProvider {
  const { models, keys = [], vendorFetch } = sources;
  const stall = sources.stall ? { stall: sources.stall } : {};
  const name = resolveProviderName(choice.provider, models, (vendor) => keyFor(keys, vendor) !== null);
  const at = (baseUrl: string) => ({ ...stall, circuit: sources.circuitOf?.(name, new URL(baseUrl).host) });
  switch (name) {
    case "openai": {
      const own = keyFor(keys, name);
      if (own?.apiKey === null) return notConfigured(name, UNOPENABLE);
      const apiKey = own?.apiKey ?? models.openaiApiKey;
      const baseURL = models.openaiBaseUrl ?? "https://api.openai.com/v1";
      if (apiKey === null && models.openaiBaseUrl === null) return notConfigured(name, NO_OPENAI_KEY);
      const modelName = choice.name ?? models.openaiModel;
      const open = (fetch: typeof globalThis.fetch) =>
        whenAsked(modelName, async () => {
          const { createOpenAI } = await import("@ai-sdk/openai");
          return createOpenAI({ apiKey: apiKey ?? NO_KEY, baseURL, fetch }).chat(modelName);
        });
      return quoting(apiKey, chatProvider(name, open, vendorFetch, at(baseURL)));
    }
    case "anthropic": {
      const own = keyFor(keys, name);
      if (own?.apiKey === null) return notConfigured(name, UNOPENABLE);
      const apiKey = own?.apiKey ?? models.anthropicApiKey;
      if (apiKey === null) return notConfigured(name, NO_ANTHROPIC_KEY);
      const baseURL = "https://api.anthropic.com/v1";
      const modelName = choice.name ?? models.anthropicModel;
      const model = whenAsked(modelName, async () => {
        const { createAnthropic } = await import("@ai-sdk/anthropic");
        return createAnthropic({ apiKey, baseURL, fetch: vendorFetch }).messages(modelName);
      });
      return quoting(apiKey, aiSdkProvider(name, model, at(baseURL)));
    }
    case "openai-compatible": {
      const { baseUrl } = choice.settings;
      const modelName = choice.name;
      if (!baseUrl) return notConfigured(name, "The agent's model has no base URL.");
      if (modelName === null) return notConfigured(name, "The agent's model has no name.");
      const settings = { name: "openaiCompatible", baseURL: baseUrl, includeUsage: true };
      const own = keyFor(keys, name, baseUrl);
      if (own?.apiKey === null) return notConfigured(name, UNOPENABLE);
      const key = own ? { apiKey: own.apiKey } : {};
      const open = (fetch: typeof globalThis.fetch) =>
        whenAsked(modelName, async () => {
          const { createOpenAICompatible } = await import("@ai-sdk/openai-compatible");
          return createOpenAICompatible({ ...settings, ...key, fetch }).chatModel(modelName);
        });
      return quoting(own?.apiKey ?? null, chatProvider(name, open, sources.egress.fetch, at(baseUrl)));
    }
    case "extractive":
      return aiSdkProvider(name, extractiveModel(sources.extractivePace), stall);
  }
}

type AskedModel = Pick<LanguageModelV4, "modelId" | "doStream">;

/** A vendor's SDK is megabytes, and most workers ask one vendor: each is loaded when it is first asked. */
function whenAsked(modelId: string, open: () => Promise<AskedModel>): AskedModel {
  return { modelId, doStream: async (call) => (await open()).doStream(call) };
}

/** A vendor that refuses a key likes to quote it; what it said is shown to staff and stored. */
function quoting(apiKey: string | null, provider: ModelProvider): ModelProvider {
  if (apiKey === null) return provider;
  // What the vendor said was shortened: it may end in the middle of the key.
  const { cut } = createRedactor([apiKey]);
  return {
    ...provider,
    classifyFailure(error) {
      const failure = provider.classifyFailure(error);
      return { ...failure, detail: cut(failure.detail) };
    },
  };
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
