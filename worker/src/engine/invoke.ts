/**
 * Settles one tool call: what is recorded counts; then a connection, an approval or the visitor's browser is asked for,
 * in this order, and each answer is a decision that the run goes on with; then it is made.
 */
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf } from "@agent-engine/core/toolkits/failure-table.ts";
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import type { BoundTool, VisitorQuestion } from "./bound-tool.ts";
import { connectAccount } from "./connect-account.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { executeCall, questionAbout } from "./execute-call.ts";
import {
  answerGone,
  confirmDone,
  decline,
  record,
  recordAnswer,
  recordNoAnswer,
  recordUnknown,
  type InvocationEnd,
} from "./record-call.ts";
import { approvalInterrupt, operatorInterrupt, visitorInterrupt } from "./tool-interrupts.ts";
import { numberedSources, resultText, type ReusedOutcome } from "./tool-outcome.ts";

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
  if (decision?.kind === "decline") return decline(run, invocation, decision);
  if (decision?.kind === "done") return confirmDone(run, invocation, decision.content);
  if (decision?.kind === "result") return recordAnswer(run, invocation, decision.content);
  if (decision?.kind === "error") return recordNoAnswer(run, invocation, decision.reason);
  if (!tool) return answerGone(run, invocation);
  const recalled = invocation.attempts === 0 ? tool.recall?.(invocation) : null;
  if (recalled) return record(run, invocation, renumbered(run, tool, recalled));

  if (invocation.effect === "write" && invocation.attempts > 0 && !mayRepeat(invocation)) {
    if (outcome?.status !== "outcome_unknown") {
      const detail = "The worker stopped after the call was begun and before its answer was recorded.";
      return recordUnknown(run, stepIndex, tool, invocation, failureOf("tool.interrupted", detail), []);
    }
    return { kind: "interrupt", interrupt: operatorInterrupt(run, stepIndex, tool, invocation, outcome.failure, []) };
  }
  const need = await needBefore(run, tool, invocation, signal);
  if (need.kind === "cancelled") return need;
  if (need.kind !== "nothing") return { kind: "interrupt", interrupt: askFor(need, run, stepIndex, tool, invocation) };
  return executeCall(run, stepIndex, tool, invocation, signal);
}

/** What must be there before a call is made for the first time. */
export type CallNeed =
  | { kind: "nothing" }
  | { kind: "connection"; failure: Failure }
  | { kind: "approval" }
  /** The visitor's browser makes the call. */
  | { kind: "visitor"; question: VisitorQuestion }
  | { kind: "cancelled" };

export async function needBefore(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<CallNeed> {
  const { decision, attempts } = invocation;
  if (attempts > 0) return { kind: "nothing" };
  // Whose account it is belongs to what is approved.
  const connected = await connectAccount(run, tool, signal);
  if (connected.kind === "cancelled") return connected;
  // Where nothing could be found out, the attempt will: it has retries.
  if (connected.kind === "failed" && connected.failure.code === "not_connected") {
    return { kind: "connection", failure: connected.failure };
  }
  const isApproved = decision?.kind === "approve" || (decision?.kind === "retry" && decision.approved === true);
  if (tool.policy === "approve" && !isApproved) return { kind: "approval" };
  return tool.ask ? { kind: "visitor", question: tool.ask(invocation) } : { kind: "nothing" };
}

function askFor(
  need: Exclude<CallNeed, { kind: "nothing" | "cancelled" }>,
  run: EngineRun,
  stepIndex: number,
  tool: BoundTool,
  invocation: ToolInvocation,
): Interrupt {
  switch (need.kind) {
    case "connection":
      return questionAbout(run, stepIndex, tool, invocation, need.failure, []);
    case "approval":
      return approvalInterrupt(run, tool, invocation);
    case "visitor":
      return visitorInterrupt(run, tool, invocation, need.question);
  }
}

/** A decision to send a write once more is about the attempt that it was made after. */
function mayRepeat({ decision, attempts }: ToolInvocation): boolean {
  return (decision?.kind === "retry" || decision?.kind === "connected") && decision.attempts === attempts;
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
