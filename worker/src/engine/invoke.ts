/** Settles one tool call: asks a person, executes it, retries it, or finds that nobody knows what it did. */
import { CONFIRMED_DONE } from "@agent-engine/core/runs/recorded-outcome.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer } from "@agent-engine/core/toolkits/toolkit.ts";
import { custom, type Interrupt } from "@agent-engine/protocol/events.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { attemptCall } from "./attempt-call.ts";
import type { BoundTool } from "./bound-tool.ts";
import { throwIfAbandoned, type ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { pause } from "./pause.ts";
import { retryDelay } from "./retry-policy.ts";
import {
  errorText,
  numberedSources,
  resultText,
  type AnsweredOutcome,
  type ReusedOutcome,
  type ToolOutcome,
} from "./tool-outcome.ts";
import { approvalInterrupt, operatorInterrupt } from "./tool-interrupts.ts";
import { triedOf, type Tried } from "./tried.ts";

export type InvocationEnd =
  | { kind: "answered"; outcome: AnsweredOutcome }
  | { kind: "interrupt"; interrupt: Interrupt }
  /** The signal was aborted: no answer. */
  | { kind: "cancelled" };

/** Changes `invocation` as its row changes. Rejects only with what an effect rejected with. */
export async function invoke(
  run: EngineRun,
  stepIndex: number,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<InvocationEnd> {
  const { outcome, decision } = invocation;
  const tool = run.tools.get(invocation.toolName);
  if (outcome?.status === "succeeded") {
    run.sources.add(tool?.description.givesSources ? outcome.content : null);
    return { kind: "answered", outcome };
  }
  if (outcome?.status === "failed") return { kind: "answered", outcome };
  if (decision?.kind === "decline") return decline(run, invocation, decision.reason);
  if (decision?.kind === "done") return confirmDone(run, invocation, decision.content);
  if (!tool) return answerGone(run, invocation);
  const recalled = invocation.attempts === 0 ? tool.recall?.(invocation) : null;
  if (recalled) return record(run, invocation, renumbered(run, tool, recalled));

  const mayRetry = decision?.kind === "retry" && decision.attempts === invocation.attempts;
  if (invocation.effect === "write" && invocation.attempts > 0 && !mayRetry) {
    if (outcome?.status !== "outcome_unknown") {
      const detail = "The worker stopped after the call was begun and before its answer was recorded.";
      return recordUnknown(run, stepIndex, tool, invocation, failureOf("tool.interrupted", detail), []);
    }
    return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, outcome.failure, []) };
  }
  if (tool.policy === "approve" && invocation.attempts === 0 && decision === null) {
    return { kind: "interrupt", interrupt: approvalInterrupt(run, tool, invocation) };
  }
  return execute(run, stepIndex, tool, invocation, signal);
}

/** Sent before, and what became of it was not known when a person let it be sent once more. */
function wasUnknown({ effect, attempts, decision }: ToolInvocation): boolean {
  return effect === "write" && attempts > 0 && !(decision?.kind === "retry" && decision.outcome === "not_done");
}

async function execute(
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<InvocationEnd> {
  const { effects } = run;
  const isUnknown = wasUnknown(invocation);
  const tried: Tried[] = [];
  let firstFailureAt: number | null = null;
  for (let attempt = 1; ; attempt++) {
    if (signal.aborted) return { kind: "cancelled" };
    const end = await attemptCall(run, tool, invocation, signal);
    if (end.kind === "cancelled") return cancelled(run, tool, invocation);
    if (end.kind === "answer") return record(run, invocation, answeredOutcome(run, tool, end.answer));

    const { failure } = end;
    if (end.kind === "failure") tried.push(triedOf(failure, effects.now()));
    if (failure.kind === "permanent") {
      return record(run, invocation, { status: "failed", content: errorText(failure.detail), failure });
    }
    if (failure.kind === "unknown_outcome" && invocation.effect === "write") {
      return recordUnknown(run, stepIndex, tool, invocation, failure, tried);
    }
    firstFailureAt ??= effects.now();
    const failed = { failure, attempt, sinceFirstFailureMs: effects.now() - firstFailureAt };
    const delayMs = mayRepeat(invocation, failure) ? retryDelay(run.retryPolicy, failed, effects.random) : null;
    if (delayMs === null) {
      // That this attempt never left says nothing about the one before it.
      if (isUnknown) return recordUnknown(run, stepIndex, tool, invocation, failure, tried);
      return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, failure, tried) };
    }
    effects.emit(custom("run.retrying", { attempt: attempt + 1, delayMs, reason: failure.code }));
    await pause(effects, delayMs, signal);
    // Nothing was shown, so nothing is taken back: this ends the state of retrying.
    effects.emit(custom("run.superseded", { messageIds: [], toolCallIds: [] }));
  }
}

/** A write is sent again on our own only when it certainly never left us. */
function mayRepeat(invocation: ToolInvocation, failure: Failure): boolean {
  if (failure.kind === "needs_person") return false;
  return invocation.effect !== "write" || (failure.kind === "transient" && failure.notSent === true);
}

function answeredOutcome(run: EngineRun, tool: BoundTool, answer: ToolAnswer): AnsweredOutcome {
  const content = cleanText(resultText(answer, run.sources.nextNumber));
  if (tool.description.givesSources) run.sources.add(content);
  if (!answer.isError) return { status: "succeeded", content };
  const failure = failureOf("tool.refused", "The tool answered with an error.");
  return { status: "failed", content, failure };
}

/** Sources are counted in each run: the numbers of another run could stand for something else here. */
function renumbered(run: EngineRun, tool: BoundTool, recalled: ReusedOutcome): ReusedOutcome {
  if (!tool.description.givesSources) return recalled;
  const sources = numberedSources(recalled.content).map(({ number: _old, ...source }) => source);
  if (sources.length === 0) return recalled;
  const content = resultText({ content: null, sources }, run.sources.nextNumber);
  run.sources.add(content);
  return { ...recalled, content };
}

async function record(run: EngineRun, invocation: ToolInvocation, outcome: AnsweredOutcome): Promise<InvocationEnd> {
  invocation.outcome = outcome;
  await run.effects.recordResult(invocation, outcome);
  return { kind: "answered", outcome };
}

/** A read that nobody waits for did nothing; of anything else nobody knows. */
async function cancelled(run: EngineRun, tool: BoundTool, invocation: ToolInvocation): Promise<InvocationEnd> {
  // Otherwise another call's effect rejected: the lease is gone and nothing can be recorded.
  throwIfAbandoned(run.input.signal);
  if (!run.input.signal.aborted) return { kind: "cancelled" };
  const failure = failureOf("tool.cancelled", `The run was cancelled while ${tool.description.name} had not answered.`);
  const outcome: ToolOutcome =
    invocation.effect === "read" ? { status: "cancelled" } : { status: "outcome_unknown", failure };
  invocation.outcome = outcome;
  await run.effects.recordResult(invocation, outcome);
  return { kind: "cancelled" };
}

async function recordUnknown(
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  failure: Failure,
  tried: readonly Tried[],
): Promise<InvocationEnd> {
  invocation.outcome = { status: "outcome_unknown", failure, interruptId: run.effects.newId("int") };
  await run.effects.recordResult(invocation, invocation.outcome);
  return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, failure, tried) };
}

function decline(run: EngineRun, invocation: ToolInvocation, reason: string | undefined): Promise<InvocationEnd> {
  const detail = reason ? `A person declined this call: ${reason}` : "A person declined this call.";
  const failure = failureOf("tool.declined", detail);
  const content = errorText(`${detail} It was not made. Do not try it again unless you are asked to.`);
  return record(run, invocation, { status: "failed", content: cleanText(content), failure });
}

function confirmDone(run: EngineRun, invocation: ToolInvocation, content: string | undefined): Promise<InvocationEnd> {
  return record(run, invocation, { status: "succeeded", content: cleanText(content ?? CONFIRMED_DONE) });
}

/** The agent's tools changed while the run waited. */
function answerGone(run: EngineRun, invocation: ToolInvocation): Promise<InvocationEnd> {
  const detail = "This tool is no longer available. The call was not made.";
  const failure = failureOf("tool.tool_gone", detail);
  return record(run, invocation, { status: "failed", content: errorText(detail), failure });
}
