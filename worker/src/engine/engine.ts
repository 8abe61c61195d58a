/**
 * The engine: model turn, tool calls, model turn, … until the model is done, a limit is reached, a person is needed or
 * the run is cancelled. It knows no database and no socket: everything it does to the world is an effect.
 *
 * ```
 * STEP_STARTED → the model's text and calls → recordToolStep → each call: begin → call → record → result → STEP_FINISHED
 *      ↑ a transient failure supersedes what the turn wrote and begins it again              │
 *      └──────────────────────────────── while the model asks for tools ────────────────────┘
 * ```
 *
 * Whoever runs it writes RUN_STARTED before and RUN_FINISHED or RUN_ERROR after; every bracket in between is closed
 * when it returns. It rejects only with what an effect rejected with, or with the signal's `RunAbandoned`; then
 * nothing may be written any more.
 */
import type { LanguageModelV4Message } from "@ai-sdk/provider";
import { addUsage } from "@agent-engine/core/runs/usage.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { BudgetAction, FinishReason, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { AgentConfig } from "@agent-engine/protocol/resources.ts";
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import type { BoundTool } from "./bound-tool.ts";
import { SourceBook } from "./citations.ts";
import { throwIfAbandoned, type EngineEffects, type RecordedStep } from "./effects.ts";
import { BUDGET_SPENT, failedMessage } from "./human-messages.ts";
import type { ModelProvider } from "./model-provider.ts";
import { runModelStep, type ModelStepEnd } from "./model-step.ts";
import { pause, SETTLED } from "./pause.ts";
import { assistantMessages, conversationTurns } from "./prompt-turns.ts";
import { buildPrompt, systemPrompt } from "./prompt.ts";
import type { RetryPolicy } from "./retry-policy.ts";
import { receiveCalls, stepNameOf } from "./received-calls.ts";
import { FREE, type Spending } from "./spending.ts";
import { StepWriter } from "./step-writer.ts";
import { runToolStep, type ToolStepEnd } from "./tool-step.ts";
import { tokensOf } from "./usage.ts";

export interface EngineInput {
  runId: string;
  conversationId: string;
  agent: AgentConfig;
  agentName: string;
  /** The fold so far as staff see it, the run's own user message included, superseded content gone. */
  history: ConversationState;
  /** The step to begin with, 0-based. */
  stepIndex: number;
  /** Step `stepIndex` when its model turn is recorded and only its tools are to be finished. */
  resumeStep?: RecordedStep;
  /** A reason of class `RunAbandoned` means: stop without another word. Any other abort is a cancel. */
  signal: AbortSignal;
  /** Of the run: 1 for the first worker that took it. */
  attempt: number;
  /** What earlier workers and earlier stretches of this run have used of its limits. */
  spent?: { usage: readonly TokenUsage[]; activeMs: number };
}

export interface EngineDeps {
  effects: EngineEffects;
  model: ModelProvider;
  tools: readonly BoundTool[];
  retryPolicy: RetryPolicy;
  /** By default nothing is counted. */
  spending?: Spending;
}

export type EngineResult =
  /** `usage` is of the whole run, `spent` included. `text` is the last thing the assistant said. */
  | { kind: "finished"; finishReason: FinishReason; usage: TokenUsage[]; text: string }
  | { kind: "interrupt"; interrupts: Interrupt[]; usage: TokenUsage[] }
  /** `message` is for visitors; `failure` for staff and logs. */
  | { kind: "failed"; code: string; message: string; failure: Failure; usage: TokenUsage[] };

/** One run in one worker: what its steps share. */
export interface EngineRun {
  input: EngineInput;
  effects: EngineEffects;
  model: ModelProvider;
  tools: ReadonlyMap<string, BoundTool>;
  retryPolicy: RetryPolicy;
  spending: Spending;
  /** The most that staff were told a budget holds the run back. */
  announced: { action: BudgetAction };
  sources: SourceBook;
  /** Aborted on cancel and when the run's seconds are used up: ends model turns, never a tool call. */
  thinking: AbortSignal;
}

export async function runEngine(input: EngineInput, deps: EngineDeps): Promise<EngineResult> {
  const tools = new Map(deps.tools.map((tool) => [tool.description.name, tool]));
  const clock = startClock(input, deps.effects);
  const run: EngineRun = {
    input,
    effects: deps.effects,
    model: deps.model,
    tools,
    retryPolicy: deps.retryPolicy,
    spending: deps.spending ?? FREE,
    announced: { action: "none" },
    sources: new SourceBook(input.history, input.runId, (name) => tools.get(name)?.description.givesSources === true),
    thinking: clock.signal,
  };
  try {
    const result = await runSteps(run);
    throwIfAbandoned(input.signal);
    return result;
  } catch (error) {
    throwIfAbandoned(input.signal);
    throw error;
  } finally {
    clock.stop();
  }
}

/** A signal that follows the run's and is aborted when its seconds are used up. */
function startClock(input: EngineInput, effects: EngineEffects): { signal: AbortSignal; stop(): void } {
  const timeUp = new AbortController();
  const stopped = new AbortController();
  const leftMs = input.agent.limits.maxSeconds * 1_000 - (input.spent?.activeMs ?? 0);
  if (leftMs <= 0) timeUp.abort(SETTLED);
  else {
    void pause(effects, leftMs, stopped.signal).then(() => {
      if (!stopped.signal.aborted) timeUp.abort(SETTLED);
    });
  }
  return { signal: AbortSignal.any([input.signal, timeUp.signal]), stop: () => stopped.abort(SETTLED) };
}

async function runSteps(run: EngineRun): Promise<EngineResult> {
  const { input } = run;
  const { limits } = input.agent;
  let usage = [...(input.spent?.usage ?? [])];
  let text = "";
  const finished = (finishReason: FinishReason): EngineResult => ({ kind: "finished", finishReason, usage, text });

  const results = new Map<string, string>();
  let stepIndex = input.stepIndex;
  if (input.resumeStep) {
    const end = await resumeToolStep(run, input.resumeStep, results);
    if (end.kind === "interrupt") return { ...end, usage };
    if (end.kind === "cancelled") return finished("cancelled");
    stepIndex++;
  }

  const citable = [...run.tools.values()].find((tool) => tool.description.givesSources);
  const system = systemPrompt(input.agent, input.agentName, citable?.description.name ?? null);
  const turns = conversationTurns(input.history, input.runId, results);
  const steps: LanguageModelV4Message[] = [];

  for (; ; stepIndex++) {
    if (input.signal.aborted) return finished("cancelled");
    if (run.thinking.aborted || stepIndex >= limits.maxSteps || tokensOf(usage) >= limits.maxTokens) {
      return finished("limit");
    }
    if (limits.maxCostMicros !== null && usage.length > 0 && run.spending.costOf(usage) >= limits.maxCostMicros) {
      return finished("limit");
    }
    const said: ModelStepEnd = await runModelStep(run, stepIndex, buildPrompt(system, turns, steps));
    if (said.kind === "stopped") {
      if (said.text !== "") text = said.text;
      return finished(input.signal.aborted ? "cancelled" : "limit");
    }
    if (said.kind === "refused") {
      text = BUDGET_SPENT;
      sayAlone(run, stepIndex, text);
      return finished("limit");
    }
    if (said.kind === "interrupt") return { kind: "interrupt", interrupts: said.interrupts, usage };
    if (said.kind === "failed") {
      const { failure } = said;
      return { kind: "failed", code: failure.code, message: failedMessage(failure.code), failure, usage };
    }
    if (said.usage) usage = addUsage(usage, said.usage);
    if (said.writer.text !== "") text = said.writer.text;
    if (said.writer.calls.length === 0) {
      said.writer.closeStep();
      return finished(finishReasonOf(said.finish));
    }

    // A model that was told to call nothing and does all the same is answered that there is no such tool.
    const its = said.mayCallTools ? run : { ...run, tools: new Map() };
    const received = receiveCalls(its, stepIndex, said.writer);
    const end = await runToolStep(
      its,
      {
        index: stepIndex,
        key: `${input.runId}:${stepIndex}`,
        text: said.writer.text,
        usage: said.usage,
        invocations: received.invocations,
      },
      received.results,
      "record",
    );
    if (end.kind === "interrupt") return { ...end, usage };
    if (end.kind === "cancelled") return finished("cancelled");
    const answered = received.calls.map((call) => ({ ...call, result: received.results.get(call.toolCallId) ?? "" }));
    steps.push(...assistantMessages(said.writer.text, answered));
  }
}

/** A step in which no model is asked. */
function sayAlone(run: EngineRun, stepIndex: number, text: string): void {
  const writer = new StepWriter(stepNameOf(stepIndex), run.effects, run.sources);
  writer.openStep();
  writer.writeText(text);
  writer.endTurn();
  writer.closeStep();
}

/** Finishes the tools of a step whose model turn an earlier worker, or this run before it waited, has recorded. */
async function resumeToolStep(run: EngineRun, step: RecordedStep, results: Map<string, string>): Promise<ToolStepEnd> {
  for (const call of run.input.history.toolCalls) {
    if (call.runId === run.input.runId && call.result !== null) results.set(call.id, call.result);
  }
  run.effects.emit({ type: "STEP_STARTED", stepName: stepNameOf(step.index) });
  return runToolStep(run, step, results, "recorded");
}

function finishReasonOf(finish: "stop" | "length" | "content-filter" | "tool-calls" | "other" | string): FinishReason {
  if (finish === "length") return "limit";
  return finish === "content-filter" ? "content_filter" : "stop";
}
