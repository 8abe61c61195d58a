import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { Circuit } from "../engine/circuit.ts";
import type { ModelProvider } from "../engine/model-provider.ts";
import { partsOf } from "../engine/part-stream.ts";
import { classifyModelFailure } from "./model-failure.ts";

/**
 * Models that think before they speak may send nothing meanwhile, some for a minute or two; once they speak they do not
 * pause. Longer than any healthy silence we know of, short enough for a visitor who waits.
 */
export const DEFAULT_STALL = { firstPartMs: 120_000, gapMs: 30_000 };

export interface ProviderOptions {
  stall?: ModelProvider["stall"];
  circuit?: Circuit | undefined;
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
    ...(options.circuit ? { circuit: options.circuit } : {}),
    stream: async (call) => partsOf((await model.doStream(call)).stream),
    classifyFailure: (error) => classifyModelFailure(error, now()),
  };
}
