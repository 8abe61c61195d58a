/** Writes OpenAI's streaming format. Strings are put together by hand: the fake must be faster than what it measures. */

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

export interface ChunkWriter {
  /** The first chunk, which names the role. */
  role(): string;
  /** A content delta whose JSON is already there. */
  contentJson(json: string): string;
  content(text: string): string;
  toolCallStart(index: number, id: string, name: string): string;
  toolCallArguments(index: number, fragment: string): string;
  finish(reason: string): string;
  /** The chunk that OpenAI adds for `stream_options.include_usage`. */
  usage(usage: Usage): string;
}

export const DONE = "data: [DONE]\n\n";

export function usageJson({ promptTokens, completionTokens }: Usage): string {
  return JSON.stringify({
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: 0,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  });
}

export function chunkWriter(id: string, model: string, createdSeconds: number, includeUsage: boolean): ChunkWriter {
  const envelope =
    `data: {"id":"${id}","object":"chat.completion.chunk","created":${createdSeconds},"model":${JSON.stringify(model)},` +
    `"service_tier":"default","system_fingerprint":"fp_fake","choices":`;
  const end = `${includeUsage ? `,"usage":null` : ""}}\n\n`;
  const open = `${envelope}[{"index":0,"delta":`;
  const close = `,"logprobs":null,"finish_reason":null}]${end}`;
  const contentOpen = `${open}{"content":`;
  const contentClose = `}${close}`;
  const callDelta = (json: string): string => `${open}{"tool_calls":[${json}]}${close}`;
  return {
    role: () => `${open}{"role":"assistant","content":"","refusal":null}${close}`,
    contentJson: (json) => contentOpen + json + contentClose,
    content: (text) => contentOpen + JSON.stringify(text) + contentClose,
    toolCallStart: (index, callId, name) =>
      callDelta(
        `{"index":${index},"id":${JSON.stringify(callId)},"type":"function",` +
          `"function":{"name":${JSON.stringify(name)},"arguments":""}}`,
      ),
    toolCallArguments: (index, fragment) =>
      callDelta(`{"index":${index},"function":{"arguments":${JSON.stringify(fragment)}}}`),
    finish: (reason) => `${open}{},"logprobs":null,"finish_reason":${JSON.stringify(reason)}}]${end}`,
    usage: (usage) => `${envelope}[],"usage":${usageJson(usage)}}\n\n`,
  };
}
