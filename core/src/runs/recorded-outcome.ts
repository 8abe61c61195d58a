/** What a model is told of a write that a person confirmed, when they said no more. */
export const CONFIRMED_DONE = JSON.stringify({
  status: "done",
  note: "A person confirmed that this call had its effect.",
});

/** How a call ended for certain. The engine's outcome, of which only this much matters here; the rest is kept with it. */
export interface CertainOutcome {
  status: "succeeded" | "failed";
  content: string;
  failure?: { code: string };
}

/** The columns of an invocation that say how it ended. */
export interface OutcomeRow {
  status: string;
  outcome: { status: string; content?: string; failure?: { code: string } } | null;
  decision: { kind: string; content?: string } | null;
}

/** How the call ended; null while nobody knows. */
export function certainOutcome({ status, outcome, decision }: OutcomeRow): CertainOutcome | null {
  if (outcome?.status === "succeeded" || outcome?.status === "failed") {
    return { ...outcome, status: outcome.status, content: outcome.content ?? "" };
  }
  // A person found out after the run had ended.
  if (status === "succeeded" && decision?.kind === "done") {
    return { status: "succeeded", content: decision.content ?? CONFIRMED_DONE };
  }
  return null;
}

/** Failures that say nothing about the tool: the call was never made, by somebody's decision. */
const NOT_ASKED: ReadonlySet<string> = new Set(["declined", "tool_gone"]);

/** Whether an identical call elsewhere would have ended the same. */
export function isOfTool({ failure }: CertainOutcome): boolean {
  return failure === undefined || !NOT_ASKED.has(failure.code);
}
