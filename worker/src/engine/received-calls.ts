import { invocationKey } from "@agent-engine/core/runs/invocation-key.ts";
import { errorText } from "./tool-outcome.ts";
import type { AnsweredCall } from "./prompt-turns.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import type { RequestedCall, StepWriter } from "./step-writer.ts";

/** Calls of one model turn that are executed; a model that asks for more is told so. */
export const MAX_CALLS_PER_STEP = 16;

/** `step-<index>`: the AG-UI name of a step. */
export function stepNameOf(stepIndex: number): string {
  return `step-${stepIndex}`;
}

export interface ReceivedCalls {
  calls: Omit<AnsweredCall, "result">[];
  invocations: ToolInvocation[];
  /** Results by tool call: of the calls that cannot be made, to begin with. */
  results: Map<string, string>;
}

/** Sorts a turn's calls into invocations and those that cannot be made, which get their result at once. */
export function receiveCalls(run: EngineRun, stepIndex: number, writer: StepWriter): ReceivedCalls {
  const received: ReceivedCalls = { calls: [], invocations: [], results: new Map() };
  for (const [callIndex, requested] of writer.calls.entries()) {
    const { toolCallId, name } = requested;
    const checked = checkCall(run, requested, callIndex);
    received.calls.push({ toolCallId, name, arguments: checked.arguments ?? {} });
    if (checked.error !== null) {
      const content = errorText(checked.error);
      received.results.set(toolCallId, content);
      const visible = run.tools.get(name)?.description.visibility.results;
      writer.answer(toolCallId, content, visible ? "all" : "staff");
      continue;
    }
    received.invocations.push({
      toolCallId,
      callIndex,
      toolName: name,
      effect: checked.effect,
      idempotencyKey: invocationKey(run.input.runId, stepIndex, callIndex),
      arguments: checked.arguments,
      attempts: 0,
      startedAt: null,
      toolkit: run.tools.get(name)?.toolkit ?? null,
      host: run.tools.get(name)?.host ?? null,
      outcome: null,
      decision: null,
    });
  }
  return received;
}

type CheckedCall =
  | { error: null; arguments: Record<string, unknown>; effect: ToolInvocation["effect"] }
  | { error: string; arguments: Record<string, unknown> | null };

function checkCall(run: EngineRun, requested: RequestedCall, callIndex: number): CheckedCall {
  if (callIndex >= MAX_CALLS_PER_STEP) {
    return { error: `At most ${MAX_CALLS_PER_STEP} calls can be made at once. Make this one later.`, arguments: null };
  }
  const tool = run.tools.get(requested.name);
  if (!tool) {
    const known = [...run.tools.keys()].join(", ");
    return {
      error: known === "" ? "There are no tools." : `There is no such tool. The tools are: ${known}.`,
      arguments: null,
    };
  }
  let value: unknown;
  try {
    // Some models send nothing at all for a tool without parameters.
    value = requested.argumentsText.trim() === "" ? {} : JSON.parse(requested.argumentsText);
  } catch {
    return { error: "The arguments are not valid JSON. Send them again as one JSON object.", arguments: null };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { error: "The arguments must be one JSON object.", arguments: null };
  }
  const args: Record<string, unknown> = { ...value };
  const problem = tool.checkArguments(args);
  if (problem !== null) return { error: `The arguments do not fit: ${problem}`, arguments: args };
  return { error: null, arguments: args, effect: tool.description.effect };
}
