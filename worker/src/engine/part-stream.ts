import type { LanguageModelV4StreamPart } from "@ai-sdk/provider";

/** A model's answer as it comes. Parts that arrive together are read together: a promise a token would be dear. */
export interface PartStream {
  /** The next parts, at least one; null at the end. Rejects when the connection does. */
  read(): Promise<readonly LanguageModelV4StreamPart[] | null>;
  /** Ends a pending read with null. Never rejects. */
  cancel(reason: unknown): Promise<void>;
}

/** The stream of an SDK's model. */
export function partsOf(stream: ReadableStream<LanguageModelV4StreamPart>): PartStream {
  const reader = stream.getReader();
  return {
    async read() {
      const { done, value } = await reader.read();
      return done ? null : [value];
    },
    cancel: (reason) => reader.cancel(reason).catch(() => {}),
  };
}
