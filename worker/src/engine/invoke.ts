/** Settles one tool call: asks a person, executes it, retries it, or finds that nobody knows what it did. */
import { CONFIRMED_DONE } from "@agent-engine/core/runs/recorded-outcome.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer } from "@agent-engine/core/toolkits/toolkit.ts";
import { custom, type Interrupt } from "@agent-engine/protocol/events.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { BoundTool } from "./bound-tool.ts";
import { throwIfAbandoned, type ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { orAborted, pause, SETTLED } from "./pause.ts";
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
      return recordUnknown(run, stepIndex, tool, invocation, interruptedFailure);
    }
    return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, outcome.failure) };
  }
  if (tool.policy === "approve" && invocation.attempts === 0 && decision === null) {
    return { kind: "interrupt", interrupt: approvalInterrupt(run, tool, invocation) };
  }
  return execute(run, stepIndex, tool, invocation, signal);
}

const interruptedFailure: Failure = {
  kind: "unknown_outcome",
  code: "interrupted",
  detail: "The worker stopped after the call was begun and before its answer was recorded.",
  requestId: null,
  retryAfterMs: null,
};

async function execute(
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<InvocationEnd> {
  const { effects } = run;
  let firstFailureAt: number | null = null;
  for (let attempt = 1; ; attempt++) {
    if (signal.aborted) return { kind: "cancelled" };
    await effects.beginInvocation(invocation);
    invocation.attempts++;
    invocation.startedAt = effects.now();
    invocation.outcome = null;
    effects.assertLease();
    const end = await attemptCall(run, tool, invocation, signal);
    if (end.kind === "cancelled") return cancelled(run, tool, invocation);
    if (end.kind === "answer") return record(run, invocation, answeredOutcome(run, tool, end.answer));

    const { failure } = end;
    if (failure.kind === "permanent") {
      return record(run, invocation, { status: "failed", content: errorText(failure.detail), failure });
    }
    if (failure.kind === "unknown_outcome" && invocation.effect === "write") {
      return recordUnknown(run, stepIndex, tool, invocation, failure);
    }
    firstFailureAt ??= effects.now();
    const failed = { failure, attempt, sinceFirstFailureMs: effects.now() - firstFailureAt };
    const delayMs = mayRepeat(invocation, failure) ? retryDelay(run.retryPolicy, failed, effects.random) : null;
    if (delayMs === null) {
      return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, failure) };
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

type AttemptEnd =
  | { kind: "answer"; answer: ToolAnswer }
  | { kind: "failure"; failure: Failure }
  | { kind: "cancelled" };

/** Never rejects, and never waits longer than the deadline, whatever the tool does with its signal. */
async function attemptCall(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<AttemptEnd> {
  const { effects } = run;
  const settled = new AbortController();
  const late = new AbortController();
  void pause(effects, tool.deadlineMs, settled.signal).then(() => {
    if (!settled.signal.aborted) late.abort();
  });
  const callSignal = AbortSignal.any([signal, late.signal]);
  try {
    const { idempotencyKey, arguments: args } = invocation;
    const deadline = effects.now() + tool.deadlineMs;
    const calling = Promise.resolve().then(() =>
      tool.call({ idempotencyKey, arguments: args, signal: callSignal, deadline }),
    );
    return { kind: "answer", answer: await orAborted(calling, callSignal) };
  } catch (error) {
    if (signal.aborted) return { kind: "cancelled" };
    return {
      kind: "failure",
      failure: late.signal.aborted ? lateFailure(tool.deadlineMs) : tool.classifyFailure(error),
    };
  } finally {
    settled.abort(SETTLED);
  }
}

function lateFailure(deadlineMs: number): Failure {
  const detail = `The tool did not answer within ${Math.round(deadlineMs / 1000)} s.`;
  return { kind: "unknown_outcome", code: "timeout", detail, requestId: null, retryAfterMs: null };
}

function answeredOutcome(run: EngineRun, tool: BoundTool, answer: ToolAnswer): AnsweredOutcome {
  const content = cleanText(resultText(answer, run.sources.nextNumber));
  if (tool.description.givesSources) run.sources.add(content);
  if (!answer.isError) return { status: "succeeded", content };
  const detail = "The tool answered with an error.";
  const failure: Failure = { kind: "permanent", code: "refused", detail, requestId: null, retryAfterMs: null };
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
  const detail = `The run was cancelled while ${tool.description.name} had not answered.`;
  const failure: Failure = { kind: "unknown_outcome", code: "cancelled", detail, requestId: null, retryAfterMs: null };
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
): Promise<InvocationEnd> {
  invocation.outcome = { status: "outcome_unknown", failure, interruptId: run.effects.newId("int") };
  await run.effects.recordResult(invocation, invocation.outcome);
  return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, failure) };
}

function decline(run: EngineRun, invocation: ToolInvocation, reason: string | undefined): Promise<InvocationEnd> {
  const detail = reason ? `A person declined this call: ${reason}` : "A person declined this call.";
  const failure: Failure = { kind: "permanent", code: "declined", detail, requestId: null, retryAfterMs: null };
  const content = errorText(`${detail} It was not made. Do not try it again unless you are asked to.`);
  return record(run, invocation, { status: "failed", content: cleanText(content), failure });
}

function confirmDone(run: EngineRun, invocation: ToolInvocation, content: string | undefined): Promise<InvocationEnd> {
  return record(run, invocation, { status: "succeeded", content: cleanText(content ?? CONFIRMED_DONE) });
}

/** The agent's tools changed while the run waited. */
function answerGone(run: EngineRun, invocation: ToolInvocation): Promise<InvocationEnd> {
  const detail = "This tool is no longer available. The call was not made.";
  const failure: Failure = { kind: "permanent", code: "tool_gone", detail, requestId: null, retryAfterMs: null };
  return record(run, invocation, { status: "failed", content: errorText(detail), failure });
}
