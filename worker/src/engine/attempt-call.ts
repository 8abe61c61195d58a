import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ToolAnswer } from "@agent-engine/core/toolkits/toolkit.ts";
import type { BoundTool } from "./bound-tool.ts";
import { circuitFailure, NO_CIRCUIT, type Attempted } from "./circuit.ts";
import type { ToolInvocation } from "./effects.ts";
import type { EngineRun } from "./engine.ts";
import { failureOf, healthOf } from "@agent-engine/core/toolkits/failure-table.ts";
import { orAborted, pause, SETTLED } from "./pause.ts";

export type AttemptEnd =
  | { kind: "answer"; answer: ToolAnswer }
  | { kind: "failure"; failure: Failure }
  /** Its circuit is open: it was not even begun. */
  | { kind: "refused"; failure: Failure }
  | { kind: "cancelled" };

/** One attempt, on record as begun before it is made. Rejects only with what an effect rejected with. */
export async function attemptCall(
  run: EngineRun,
  tool: BoundTool,
  invocation: ToolInvocation,
  signal: AbortSignal,
): Promise<AttemptEnd> {
  const { effects } = run;
  const guarded = await (tool.circuit ?? NO_CIRCUIT).guard(async () => {
    await effects.beginInvocation(invocation);
    invocation.attempts++;
    invocation.startedAt = effects.now();
    invocation.outcome = null;
    effects.assertLease();
    return attempted(await call(run, tool, invocation, signal));
  });
  if (guarded.kind === "made") return guarded.end;
  return { kind: "refused", failure: circuitFailure("tool", guarded.circuit, effects.now()) };
}

function attempted(end: AttemptEnd): Attempted<AttemptEnd> {
  if (end.kind === "failure") return { end, health: healthOf("tool", end.failure), failure: end.failure };
  return { end, health: end.kind === "answer" ? "healthy" : "unclear", failure: null };
}

/** Never rejects, and never waits longer than the deadline, whatever the tool does with its signal. */
async function call(
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
  return failureOf("tool.timeout", `The tool did not answer within ${Math.round(deadlineMs / 1000)} s.`);
}
