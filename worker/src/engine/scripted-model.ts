/** For tests: a model that does what it is told, in memory. */
import type { LanguageModelV4CallOptions, LanguageModelV4StreamPart } from "@ai-sdk/provider";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ModelProvider } from "./model-provider.ts";
import { ModelStalled, ModelStreamCut } from "./model-provider.ts";
import { partsOf } from "./part-stream.ts";
import type { VirtualClock } from "./virtual-clock.ts";

export type Action =
  | { say: string }
  | { think: string }
  | { call: string; arguments: unknown }
  | { wait: number }
  /** Throws while streaming, or before the stream when it comes first. */
  | { fail: Partial<Failure> }
  | { errorPart: Partial<Failure> }
  | { hang: true }
  /** Ends the stream without a finish part. */
  | { cut: true }
  | { finish: "stop" | "length" | "content-filter" };

export class ScriptedFailure extends Error {
  readonly failure: Failure;
  constructor(failure: Partial<Failure>) {
    super("scripted");
    this.failure = {
      kind: "transient",
      code: "unavailable",
      detail: "boom",
      requestId: null,
      retryAfterMs: null,
      ...failure,
    };
  }
}

export interface ScriptedModel extends ModelProvider {
  /** The options of every call, oldest first. */
  calls: LanguageModelV4CallOptions[];
}

/** Each entry is one attempt's script; past the end the model says "done". */
export function scriptedModel(clock: VirtualClock, scripts: readonly (readonly Action[])[]): ScriptedModel {
  const calls: LanguageModelV4CallOptions[] = [];
  return {
    provider: "scripted",
    modelId: "script-1",
    stall: { firstPartMs: 30_000, gapMs: 20_000 },
    calls,
    async stream(options) {
      const script = scripts[calls.length] ?? [{ say: "done" }];
      calls.push(options);
      const [first] = script;
      if (first && "fail" in first) throw new ScriptedFailure(first.fail);
      const parts = play(script, clock);
      const stream = new ReadableStream<LanguageModelV4StreamPart>(
        {
          async pull(controller) {
            const next = await parts.next();
            if (next.done) controller.close();
            else controller.enqueue(next.value);
          },
        },
        { highWaterMark: 0 },
      );
      return partsOf(stream);
    },
    classifyFailure(error) {
      if (error instanceof ScriptedFailure) return error.failure;
      const code = error instanceof ModelStalled ? "stalled" : error instanceof ModelStreamCut ? "cut_off" : "unknown";
      return { kind: "transient", code, detail: String(error), requestId: null, retryAfterMs: null };
    },
  };
}

async function* play(script: readonly Action[], clock: VirtualClock): AsyncGenerator<LanguageModelV4StreamPart, void> {
  yield { type: "stream-start", warnings: [] };
  let calls = 0;
  let finish: "stop" | "length" | "content-filter" | "tool-calls" = "stop";
  for (const action of script) {
    if ("say" in action) {
      yield { type: "text-start", id: "t" };
      for (const [word] of action.say.matchAll(/\S+\s*|\s+/g)) yield { type: "text-delta", id: "t", delta: word };
      yield { type: "text-end", id: "t" };
    } else if ("think" in action) {
      yield { type: "reasoning-start", id: "r" };
      yield { type: "reasoning-delta", id: "r", delta: action.think };
      yield { type: "reasoning-end", id: "r" };
    } else if ("call" in action) {
      const id = `model-call-${calls++}`;
      const input = typeof action.arguments === "string" ? action.arguments : JSON.stringify(action.arguments);
      yield { type: "tool-input-start", id, toolName: action.call };
      for (const piece of [input.slice(0, 3), input.slice(3)]) yield { type: "tool-input-delta", id, delta: piece };
      yield { type: "tool-input-end", id };
      yield { type: "tool-call", toolCallId: id, toolName: action.call, input };
      finish = "tool-calls";
    } else if ("wait" in action) await clock.sleep(action.wait, new AbortController().signal);
    else if ("fail" in action) throw new ScriptedFailure(action.fail);
    else if ("errorPart" in action) yield { type: "error", error: new ScriptedFailure(action.errorPart) };
    else if ("hang" in action) await new Promise(() => {});
    else if ("cut" in action) return;
    else finish = action.finish;
  }
  yield {
    type: "finish",
    finishReason: { unified: finish, raw: undefined },
    usage: {
      inputTokens: { total: 100, noCache: undefined, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 10, text: undefined, reasoning: undefined },
    },
  };
}
