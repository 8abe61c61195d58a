import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { ModelProvider } from "../engine/model-provider.ts";
import { partsOf } from "../engine/part-stream.ts";
import { classifyModelFailure } from "./model-failure.ts";

/**
 * Vendors that think before they speak send nothing meanwhile, so the first part may take longer than later ones.
 * Longer than any healthy silence we know of, short enough for a visitor who waits.
 */
export const DEFAULT_STALL = { firstPartMs: 30_000, gapMs: 20_000 };

export interface ProviderOptions {
  stall?: ModelProvider["stall"];
  now?: () => number;
}

/** A model of the AI SDK as the engine sees it. Uses `doStream` itself: the SDK's retries are never involved. */
export function aiSdkProvider(
  provider: string,
  model: Pick<LanguageModelV4, "modelId" | "doStream">,
  options: ProviderOptions = {},
): ModelProvider {
  const now = options.now ?? Date.now;
  return {
    provider,
    modelId: model.modelId,
    stall: options.stall ?? DEFAULT_STALL,
    stream: async (call) => partsOf((await model.doStream(call)).stream),
    classifyFailure: (error) => classifyModelFailure(error, now()),
  };
}
