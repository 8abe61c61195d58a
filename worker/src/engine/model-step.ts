import type { LanguageModelV4FunctionTool, LanguageModelV4Prompt } from "@ai-sdk/provider";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { custom, type Interrupt, type TokenUsage } from "@agent-engine/protocol/events.ts";
import { circuitFailure, NO_CIRCUIT, type Attempted } from "./circuit.ts";
import type { EngineRun } from "./engine.ts";
import { throwIfAbandoned } from "./effects.ts";
import { healthOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { MODEL_WAITS } from "./human-messages.ts";
import type { ModelProvider } from "./model-provider.ts";
import { runModelTurn, type TurnEnd } from "./model-turn.ts";
import { pause } from "./pause.ts";
import { stepNameOf } from "./received-calls.ts";
import { admitCall } from "./spending.ts";
import { retryDelay } from "./retry-policy.ts";
import { StepWriter } from "./step-writer.ts";
import { CANCELLED_RESULT, MISSING_RESULT } from "./tool-outcome.ts";
import { failureMetadata, triedOf, type Tried } from "./tried.ts";

export type ModelStepEnd =
  /** The step is still open. */
  | { kind: "complete"; finish: string; usage: TokenUsage | null; writer: StepWriter; mayCallTools: boolean }
  /** A budget is spent: nothing was asked. */
  | { kind: "refused" }
  /** Cancelled, or out of time; what was said stays. */
  | { kind: "stopped"; text: string }
  | { kind: "interrupt"; interrupts: Interrupt[] }
  | { kind: "failed"; failure: Failure };

/**
 * One model turn, begun again after transient failures. What a failed attempt wrote is closed at once and superseded
 * when the next one begins: until then the visitor keeps what they were reading.
 */
export async function runModelStep(
  run: EngineRun,
  stepIndex: number,
  prompt: LanguageModelV4Prompt,
): Promise<ModelStepEnd> {
  const { effects, retryPolicy, thinking } = run;
  const options = callOptions(run, prompt);
  const tried: Tried[] = [];
  let firstFailureAt: number | null = null;
  for (let attempt = 1; ; attempt++) {
    effects.assertLease();
    const admission = await admitCall(run, stepIndex, options);
    if (admission.kind === "stopped") return { kind: "stopped", text: "" };
    if (admission.kind === "refused") return admission;
    const { model, mayCallTools } = admission;
    const circuit = model.circuit ?? NO_CIRCUIT;
    const writer = new StepWriter(stepNameOf(stepIndex), effects, run.sources);
    const argumentsAudience = (name: string) =>
      run.tools.get(name)?.description.visibility.arguments ? "all" : "staff";
    const guarded = await circuit.guard(async () => {
      writer.openStep();
      return attempted(
        await runModelTurn({ model, options: admission.options, signal: thinking, writer, argumentsAudience, effects }),
      );
    });
    await admission.settle(guarded.kind === "made" ? guarded.end : null, writer);
    const end: TurnEnd =
      guarded.kind === "made"
        ? guarded.end
        : { kind: "failed", failure: circuitFailure("model", guarded.circuit, effects.now()) };
    if (end.kind === "complete") {
      writer.endTurn();
      return { kind: "complete", finish: end.finish, usage: end.usage, writer, mayCallTools };
    }
    throwIfAbandoned(run.input.signal);
    if (run.input.signal.aborted || end.kind === "stopped") {
      writer.abandon(CANCELLED_RESULT);
      return { kind: "stopped", text: writer.text };
    }
    const { failure } = end;
    if (failure.kind === "permanent") {
      writer.abandon(MISSING_RESULT);
      return { kind: "failed", failure };
    }
    if (guarded.kind === "made") tried.push(triedOf(failure, effects.now()));
    firstFailureAt ??= effects.now();
    const failed = { failure, attempt, sinceFirstFailureMs: effects.now() - firstFailureAt };
    const delayMs = failure.kind === "needs_person" ? null : retryDelay(retryPolicy, failed, effects.random);
    if (delayMs === null) {
      writer.abandon();
      supersede(run, writer.messageIds, writer);
      return { kind: "interrupt", interrupts: [operatorInterrupt(run, model, stepIndex, failure, tried)] };
    }
    effects.emit(custom("run.retrying", { attempt: attempt + 1, delayMs, reason: failure.code }));
    writer.abandon();
    await pause(effects, delayMs, thinking);
    throwIfAbandoned(run.input.signal);
    if (thinking.aborted) {
      supersede(run, [], writer);
      return { kind: "stopped", text: writer.text };
    }
    supersede(run, writer.messageIds, writer);
  }
}

function attempted(end: TurnEnd): Attempted<TurnEnd> {
  if (end.kind === "failed") return { end, health: healthOf("model", end.failure), failure: end.failure };
  return { end, health: end.kind === "complete" ? "healthy" : "unclear", failure: null };
}

/** Takes an attempt's calls and the given texts out of the fold. Written even for none: it also ends the retrying. */
function supersede(run: EngineRun, messageIds: string[], writer: StepWriter): void {
  const toolCallIds = writer.calls.map((call) => call.toolCallId);
  run.effects.emit(custom("run.superseded", { messageIds, toolCallIds }));
}

function callOptions(run: EngineRun, prompt: LanguageModelV4Prompt) {
  const { settings } = run.input.agent.model;
  const tools = [...run.tools.values()].map(({ description }): LanguageModelV4FunctionTool => ({
    type: "function",
    name: description.name,
    description: description.description,
    inputSchema: description.parameters,
  }));
  return {
    prompt,
    ...(tools.length > 0 ? { tools } : {}),
    ...(settings.temperature === undefined ? {} : { temperature: settings.temperature }),
    ...(settings.topP === undefined ? {} : { topP: settings.topP }),
    ...(settings.maxOutputTokens === undefined ? {} : { maxOutputTokens: settings.maxOutputTokens }),
    // Read by the extractive provider; vendors ignore what is not addressed to them.
    providerOptions: {
      agentEngine: { agentName: run.input.agentName, suggestions: run.input.agent.suggestions },
    },
  };
}

function operatorInterrupt(
  run: EngineRun,
  model: ModelProvider,
  stepIndex: number,
  failure: Failure,
  tried: readonly Tried[],
): Interrupt {
  const nowMs = run.effects.now();
  return {
    id: run.effects.newId("int"),
    reason: "operator",
    message: MODEL_WAITS,
    metadata: {
      kind: "model",
      provider: model.provider,
      model: model.modelId,
      stepIndex,
      ...failureMetadata("model", failure, tried, nowMs),
      attempts: tried.length,
      failedAt: new Date(nowMs).toISOString(),
      choices: ["retry", "abort"],
    },
  };
}
