/**
 * The tool calls of one step. Reads run side by side; calls that change something run one after the other in the
 * order in which the model asked for them, and none overtakes one that waits for a person.
 */
import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { throwIfAbandoned, type RecordedStep, type ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { invoke, needBefore } from "./invoke.ts";
import { stepNameOf } from "./received-calls.ts";
import { emitResult } from "./step-writer.ts";
import { CANCELLED_RESULT, type AnsweredOutcome } from "./tool-outcome.ts";

export type ToolStepEnd =
  /** Every call has its result; the step is closed. */
  | { kind: "complete" }
  /** Some calls wait; the others have their results, the step is closed. */
  | { kind: "interrupt"; interrupts: Interrupt[] }
  /** Every call has a result, a synthetic one where it was not answered; the step is closed. */
  | { kind: "cancelled" };

/**
 * @param results by tool call; calls that are in it already are not made, and results that come are put into it
 * @param state `record`: the step is new; `recorded`: it was recorded before this worker or this stretch of the run
 */
export async function runToolStep(
  run: EngineRun,
  step: RecordedStep,
  results: Map<string, string>,
  state: "record" | "recorded",
): Promise<ToolStepEnd> {
  if (state === "record") await run.effects.recordToolStep(step);
  const waiting = step.invocations.filter((invocation) => !results.has(invocation.toolCallId));
  const interrupts = await settleAll(run, step, waiting, results);
  throwIfAbandoned(run.input.signal);
  const cancelled = run.input.signal.aborted;
  if (cancelled) {
    for (const invocation of waiting) {
      if (!results.has(invocation.toolCallId)) answer(run, invocation, { content: CANCELLED_RESULT }, results);
    }
  }
  run.effects.emit({ type: "STEP_FINISHED", stepName: stepNameOf(step.index) });
  if (cancelled) return { kind: "cancelled" };
  return interrupts.length > 0 ? { kind: "interrupt", interrupts } : { kind: "complete" };
}

async function settleAll(
  run: EngineRun,
  step: RecordedStep,
  invocations: readonly ToolInvocation[],
  results: Map<string, string>,
): Promise<Interrupt[]> {
  // When an effect rejects for one call, the others must not go on behind its back.
  const broken = new AbortController();
  const signal = AbortSignal.any([run.input.signal, broken.signal]);
  const interrupts = new Map<number, Interrupt>();

  const settle = async (invocation: ToolInvocation): Promise<boolean> => {
    const end = await invoke(run, step.index, invocation, signal);
    if (end.kind === "answered") answer(run, invocation, end.outcome, results);
    if (end.kind === "interrupt") interrupts.set(invocation.callIndex, end.interrupt);
    return end.kind === "answered";
  };
  const inOrder = async (changes: readonly ToolInvocation[]): Promise<void> => {
    let isBlocked = false;
    for (const invocation of changes) {
      if (signal.aborted) return;
      if (isBlocked && !(await asksFirst(run, invocation, signal))) continue;
      if (!(await settle(invocation))) isBlocked = true;
    }
  };
  const reads = invocations.filter((invocation) => invocation.effect === "read");
  const changes = invocations.filter((invocation) => invocation.effect !== "read");
  const work = [...reads.map(settle), inOrder(changes)].map((settling) =>
    settling.catch((error: unknown) => {
      broken.abort(error);
      throw error;
    }),
  );
  const ends = await Promise.allSettled(work);
  const failed = ends.find((end) => end.status === "rejected");
  if (failed) throw broken.signal.reason;
  return [...interrupts.entries()].sort(([a], [b]) => a - b).map(([, interrupt]) => interrupt);
}

/**
 * A blocked call that only asks a person may still ask: both questions are then answered in one go. Not so what the
 * visitor's browser does: that is the call itself.
 */
async function asksFirst(run: EngineRun, invocation: ToolInvocation, signal: AbortSignal): Promise<boolean> {
  const tool = run.tools.get(invocation.toolName);
  if (!tool || isSettled(invocation)) return false;
  const { kind } = await needBefore(run, tool, invocation, signal);
  return kind === "connection" || kind === "approval";
}

/** A person has said how it goes on. */
function isSettled({ decision }: ToolInvocation): boolean {
  return decision !== null && decision.kind !== "connected" && decision.kind !== "retry";
}

function answer(
  run: EngineRun,
  invocation: ToolInvocation,
  { content, reused }: Pick<AnsweredOutcome, "content" | "reused">,
  results: Map<string, string>,
): void {
  const tool = run.tools.get(invocation.toolName);
  results.set(invocation.toolCallId, content);
  const audience = tool?.description.visibility.results ? "all" : "staff";
  emitResult(run.effects, invocation.toolCallId, content, audience, reused);
}
