/** How a tool call ends: each end is recorded with the invocation, once, before anybody is told of it. */
import { CONFIRMED_DONE } from "@agent-engine/core/runs/recorded-outcome.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { BoundTool } from "./bound-tool.ts";
import { throwIfAbandoned, type CallDecision, type ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { operatorInterrupt } from "./tool-interrupts.ts";
import { errorText, resultText, type AnsweredOutcome, type ToolOutcome } from "./tool-outcome.ts";
import type { Tried } from "./tried.ts";

export type InvocationEnd =
  | { kind: "answered"; outcome: AnsweredOutcome }
  | { kind: "interrupt"; interrupt: Interrupt }
  /** The signal was aborted: no answer. */
  | { kind: "cancelled" };

export async function record(
  run: EngineRun,
  invocation: ToolInvocation,
  outcome: AnsweredOutcome,
): Promise<InvocationEnd> {
  invocation.outcome = outcome;
  await run.effects.recordResult(invocation, outcome);
  return { kind: "answered", outcome };
}

/** A read that nobody waits for did nothing; of anything else nobody knows. */
export async function cancelled(run: EngineRun, tool: BoundTool, invocation: ToolInvocation): Promise<InvocationEnd> {
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

export async function recordUnknown(
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

export function decline(run: EngineRun, invocation: ToolInvocation, decision: CallDecision): Promise<InvocationEnd> {
  const reason = "reason" in decision ? decision.reason : undefined;
  const said = reason ? `: ${reason}` : ".";
  const isConnection = "of" in decision && decision.of === "connection";
  const nobody = isConnection
    ? "The visitor did not connect the account that this call needs"
    : "A person declined this call";
  const detail = decision.by === "expiry" && !isConnection ? "Nobody approved this call in time." : nobody + said;
  const failure = failureOf("tool.declined", detail);
  const content = errorText(`${detail} It was not made. Do not try it again unless you are asked to.`);
  return record(run, invocation, { status: "failed", content: cleanText(content), failure });
}

export function confirmDone(
  run: EngineRun,
  invocation: ToolInvocation,
  content: string | undefined,
): Promise<InvocationEnd> {
  return record(run, invocation, { status: "succeeded", content: cleanText(content ?? CONFIRMED_DONE) });
}

/** What the visitor's browser answered. It is the visitor's word, and no more trusted than a message of theirs. */
export function recordAnswer(run: EngineRun, invocation: ToolInvocation, content: unknown): Promise<InvocationEnd> {
  return record(run, invocation, { status: "succeeded", content: cleanText(resultText({ content }, 1)) });
}

export function recordNoAnswer(
  run: EngineRun,
  invocation: ToolInvocation,
  reason: string | undefined,
): Promise<InvocationEnd> {
  const detail = reason ? `The visitor's page answered with an error: ${reason}` : "The visitor's page did not answer.";
  const failure = failureOf("tool.page_failed", detail);
  return record(run, invocation, { status: "failed", content: cleanText(errorText(detail)), failure });
}

/** The agent's tools changed while the run waited. */
export function answerGone(run: EngineRun, invocation: ToolInvocation): Promise<InvocationEnd> {
  const detail = "This tool is no longer available. The call was not made.";
  const failure = failureOf("tool.tool_gone", detail);
  return record(run, invocation, { status: "failed", content: errorText(detail), failure });
}
