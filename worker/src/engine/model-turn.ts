/** One attempt at one model turn: reads the provider's stream and writes it to the log as it comes. */
import type {
  LanguageModelV4CallOptions,
  LanguageModelV4FinishReason,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
} from "@ai-sdk/provider";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { EngineEffects } from "./effects.ts";
import { ModelStalled, ModelStreamCut, type ModelProvider } from "./model-provider.ts";
import { orAborted, pause, SETTLED } from "./pause.ts";
import type { PartStream } from "./part-stream.ts";
import type { StepWriter } from "./step-writer.ts";

/** A name longer than any tool's: what a model makes up beyond it is noise. */
const MAX_TOOL_NAME_LENGTH = 128;

export type TurnEnd =
  | { kind: "complete"; finish: LanguageModelV4FinishReason["unified"]; usage: TokenUsage | null }
  /** What was written stays open: the caller decides what becomes of it. */
  | { kind: "failed"; failure: Failure }
  /** The signal was aborted. */
  | { kind: "stopped" };

export interface TurnRequest {
  model: ModelProvider;
  options: LanguageModelV4CallOptions;
  signal: AbortSignal;
  writer: StepWriter;
  /** Who may read the arguments of this tool's calls. */
  argumentsAudience: (toolName: string) => "all" | "staff";
  effects: EngineEffects;
}

type FinishPart = Extract<LanguageModelV4StreamPart, { type: "finish" }>;

/** Never rejects for what the model does; rejects when an effect does. */
export async function runModelTurn(request: TurnRequest): Promise<TurnEnd> {
  const { model, signal, effects } = request;
  if (signal.aborted) return { kind: "stopped" };
  const upstream = new AbortController();
  const turn: Turn = {
    answer: null,
    lastPartAt: effects.now(),
    hasSpoken: false,
    settled: new AbortController(),
    isRead: false,
  };
  const stop = (reason: unknown) => {
    upstream.abort(reason);
    // Ends a pending read at once, also of a stream that does not honour the signal.
    void turn.answer?.cancel(reason);
  };
  const onAbort = () => stop(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  const watching = watchForStall(turn, model, effects, stop);
  try {
    const read = await readTurn(request, turn, upstream.signal);
    if (signal.aborted) return { kind: "stopped" };
    if (read.kind === "complete") {
      turn.isRead = true;
      return read;
    }
    return {
      kind: "failed",
      failure: model.classifyFailure(upstream.signal.aborted ? upstream.signal.reason : read.error),
    };
  } finally {
    signal.removeEventListener("abort", onAbort);
    turn.settled.abort(SETTLED);
    if (!turn.isRead) stop(SETTLED);
    await watching;
  }
}

interface Turn {
  answer: PartStream | null;
  lastPartAt: number;
  /** It said something or asked for a tool: from then on a short silence is long. */
  hasSpoken: boolean;
  settled: AbortController;
  /** Read to its end: nothing is left to hang up. */
  isRead: boolean;
}

/** One timer for the whole turn: a part only leaves its time behind. */
async function watchForStall(
  turn: Turn,
  model: ModelProvider,
  effects: EngineEffects,
  stop: (reason: unknown) => void,
): Promise<void> {
  while (!turn.settled.signal.aborted) {
    const allowed = turn.hasSpoken ? model.stall.gapMs : model.stall.firstPartMs;
    const silent = effects.now() - turn.lastPartAt;
    if (silent >= allowed) return stop(new ModelStalled(silent));
    // Never longer than a gap: the first word may come while we sleep, and then the shorter allowance holds.
    await pause(effects, Math.min(allowed - silent, model.stall.gapMs), turn.settled.signal);
  }
}

type ReadEnd = Extract<TurnEnd, { kind: "complete" }> | { kind: "error"; error: unknown };

async function readTurn(request: TurnRequest, turn: Turn, upstream: AbortSignal): Promise<ReadEnd> {
  const { model, options, writer, effects } = request;
  let finish: FinishPart | null = null;
  try {
    const opening = Promise.resolve(model.stream({ ...options, abortSignal: upstream }));
    turn.answer = await orAborted(opening, upstream).catch((error: unknown) => {
      opening.then((late) => late.cancel(error)).catch(() => {});
      throw error;
    });
  } catch (error) {
    return { kind: "error", error };
  }
  for (;;) {
    let parts: Awaited<ReturnType<PartStream["read"]>>;
    try {
      parts = await turn.answer.read();
    } catch (error) {
      return { kind: "error", error };
    }
    if (parts === null) break;
    for (const part of parts) {
      if (part.type === "error") return { kind: "error", error: part.error };
      if (part.type === "finish") finish = part;
      else writePart(request, part);
      if (part.type === "text-delta" || part.type.startsWith("tool-")) turn.hasSpoken = true;
    }
    if (writer.mustFlush) await writer.flush();
    turn.lastPartAt = effects.now();
  }
  const unified = finish?.finishReason.unified ?? "interrupted";
  if (finish === null || unified === "interrupted" || unified === "error") {
    return { kind: "error", error: new ModelStreamCut() };
  }
  return { kind: "complete", finish: unified, usage: tokenUsage(model, finish.usage) };
}

function writePart({ writer, argumentsAudience }: TurnRequest, part: LanguageModelV4StreamPart): void {
  switch (part.type) {
    case "text-delta":
      writer.writeText(part.delta);
      return;
    case "reasoning-delta":
      writer.writeReasoning(part.delta);
      return;
    case "tool-input-start": {
      if (part.providerExecuted) return;
      const name = toolName(part.toolName);
      writer.startCall(part.id, name, argumentsAudience(name));
      return;
    }
    case "tool-input-delta":
      writer.writeArguments(part.id, part.delta);
      return;
    case "tool-call": {
      if (part.providerExecuted) return;
      const name = toolName(part.toolName);
      if (!writer.isCallOpen(part.toolCallId)) writer.startCall(part.toolCallId, name, argumentsAudience(name));
      writer.endCall(part.toolCallId, part.input);
      return;
    }
    default:
      // Files, sources, pings and what newer SDKs add are not part of a conversation.
      return;
  }
}

function toolName(name: string): string {
  return cleanText(name.slice(0, MAX_TOOL_NAME_LENGTH));
}

function tokenUsage(model: ModelProvider, usage: LanguageModelV4Usage): TokenUsage {
  const input = usage.inputTokens.total;
  const output = usage.outputTokens.total;
  const known: [keyof TokenUsage, number | undefined][] = [
    ["inputTokens", input],
    ["outputTokens", output],
    ["totalTokens", input === undefined && output === undefined ? undefined : (input ?? 0) + (output ?? 0)],
    ["reasoningTokens", usage.outputTokens.reasoning],
    ["cachedInputTokens", usage.inputTokens.cacheRead],
  ];
  return {
    provider: model.provider,
    model: model.modelId,
    ...Object.fromEntries(known.filter(([, value]) => value !== undefined)),
  };
}
