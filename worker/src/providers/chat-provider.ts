import type { LanguageModelV4 } from "@ai-sdk/provider";
import type { ModelProvider } from "../engine/model-provider.ts";
import { partsOf, type PartStream } from "../engine/part-stream.ts";
import { DEFAULT_STALL, type ProviderOptions } from "./ai-sdk-provider.ts";
import { chatParts } from "./chat-stream.ts";
import { classifyModelFailure } from "./model-failure.ts";

type ChatModel = Pick<LanguageModelV4, "modelId" | "doStream">;

/**
 * A model behind Chat Completions: the SDK writes the request, with what each model wants, and reads refusals; the
 * stream of an answer is read by `chatParts`, and the SDK is given an empty one in its place.
 */
export function chatProvider(
  provider: string,
  openModel: (fetch: typeof globalThis.fetch) => ChatModel,
  fetch: typeof globalThis.fetch,
  options: ProviderOptions = {},
): ModelProvider {
  const now = options.now ?? Date.now;
  return {
    provider,
    modelId: openModel(fetch).modelId,
    stall: options.stall ?? DEFAULT_STALL,
    ...(options.circuit ? { circuit: options.circuit } : {}),
    async stream(call) {
      let answer: PartStream | null = null;
      const model = openModel(async (input, init) => {
        const response = await fetch(input, init);
        const isStream = response.headers.get("content-type")?.includes("text/event-stream") === true;
        if (!response.ok || !response.body || !isStream) return response;
        answer = chatParts(response.body);
        return new Response("", { status: response.status, headers: { "content-type": "text/event-stream" } });
      });
      const { stream } = await model.doStream(call);
      return answer ?? partsOf(stream);
    },
    classifyFailure: (error) => classifyModelFailure(error, now()),
  };
}
