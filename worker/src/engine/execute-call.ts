/** Makes one tool call, and makes it again where that is safe, until it is answered or a person must look at it. */
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer } from "@agent-engine/core/toolkits/toolkit.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import { custom } from "@agent-engine/protocol/events.ts";
import { attemptCall } from "./attempt-call.ts";
import type { BoundTool } from "./bound-tool.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { pause } from "./pause.ts";
import { cancelled, record, recordUnknown, type InvocationEnd } from "./record-call.ts";
import { retryDelay } from "./retry-policy.ts";
import { connectionInterrupt, operatorInterrupt } from "./tool-interrupts.ts";
import { cutText, errorText, MAX_RESULT_LENGTH, resultText, type AnsweredOutcome } from "./tool-outcome.ts";
import { triedOf, type Tried } from "./tried.ts";

/** All attempts share the tool's deadline: one that hangs is not waited for again. */
export async function executeCall(
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
  const deadline = effects.now() + tool.deadlineMs;
  for (let attempt = 1; ; attempt++) {
    if (signal.aborted) return { kind: "cancelled" };
    const end = await attemptCall(run, tool, invocation, { signal, deadline });
    if (end.kind === "not_begun") return { kind: "cancelled" };
    if (end.kind === "cancelled") return cancelled(run, tool, invocation);
    if (end.kind === "answer") return record(run, invocation, answeredOutcome(run, tool, invocation, end.answer));

    const { failure } = end;
    if (end.kind === "failure") tried.push(triedOf(failure, effects.now()));
    if (failure.kind === "permanent") {
      return record(run, invocation, { status: "failed", content: errorText(failure.detail), failure });
    }
    if (failure.kind === "unknown_outcome" && invocation.effect === "write") {
      return recordUnknown(run, stepIndex, tool, invocation, failure, tried);
    }
    firstFailureAt ??= effects.now();
    if (end.kind === "failure") await effects.recordFailure(invocation, failure);
    const failed = { failure, attempt, sinceFirstFailureMs: effects.now() - firstFailureAt };
    const delayMs = mayRepeat(invocation, failure) ? retryDelay(run.retryPolicy, failed, effects.random) : null;
    if (delayMs === null || effects.now() + delayMs >= deadline) {
      // That this attempt never left says nothing about the one before it.
      if (isUnknown) return recordUnknown(run, stepIndex, tool, invocation, failure, tried);
      return { kind: "interrupt", interrupt: questionAbout(run, stepIndex, tool, invocation, failure, tried) };
    }
    effects.emit(custom("run.retrying", { attempt: attempt + 1, delayMs, reason: failure.code }));
    await pause(effects, delayMs, signal);
    // Nothing was shown, so nothing is taken back: this ends the state of retrying.
    effects.emit(custom("run.superseded", { messageIds: [], toolCallIds: [] }));
  }
}

/** Whose turn it is: the visitor's, where their account is what is missing, otherwise the team's. */
export function questionAbout(
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
  failure: Failure,
  tried: readonly Tried[],
) {
  const isAboutConnection = failure.code === "connection_expired" || failure.code === "not_connected";
  if (isAboutConnection && tool.account?.mayConnect) {
    return connectionInterrupt(run, tool, tool.account, invocation, failure);
  }
  return operatorInterrupt(run, stepIndex, tool, invocation, failure, tried);
}

/** The model believes that its own arguments were sent. Who may not see a call's arguments learns only that they differ. */
function editNote({ description }: BoundTool, { decision, arguments: args }: ToolInvocation): string {
  if (decision === null || !("edited" in decision) || decision.edited !== true || description.givesSources) return "";
  const { visibility } = description;
  const shown = visibility.arguments || !visibility.results ? ` It was made with ${JSON.stringify(args)}.` : "";
  return `A person changed this call before it was made.${shown} Its result:\n`;
}

/** Sent before, and what became of it was not known when a person let it be sent once more. */
function wasUnknown({ effect, attempts, decision }: ToolInvocation): boolean {
  const wasNotDone = decision !== null && "outcome" in decision && decision.outcome === "not_done";
  return effect === "write" && attempts > 0 && !wasNotDone;
}

/** A write is sent again on our own only when it certainly never left us. */
function mayRepeat(invocation: ToolInvocation, failure: Failure): boolean {
  if (failure.kind === "needs_person") return false;
  return invocation.effect !== "write" || (failure.kind === "transient" && failure.notSent === true);
}

function answeredOutcome(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  answer: ToolAnswer,
): AnsweredOutcome {
  const text = editNote(tool, invocation) + resultText(answer, run.sources.nextNumber);
  const content = cleanText(answer.sources ? text : cutText(text, MAX_RESULT_LENGTH));
  if (tool.description.givesSources) run.sources.add(content);
  if (!answer.isError) return { status: "succeeded", content };
  const failure = failureOf("tool.refused", "The tool answered with an error.");
  return { status: "failed", content, failure };
}
