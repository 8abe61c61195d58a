import type { Ctx } from "../../context.ts";
import { handOver } from "../../conversations/hand-over.ts";
import { ProblemError } from "../../errors.ts";
import { planFollowUp } from "../../schedules/plan-follow-up.ts";
import type { BuiltinDeps } from "./builtin-tool.ts";

/** What the built-in tools do, for the tenant and run of `ctx`. */
export function builtinDeps(ctx: Ctx, { hasVisitor }: { hasVisitor: boolean }): BuiltinDeps {
  return {
    hasVisitor,
    now: ctx.services.clock,
    handOver: (input) => orProblem(handOver(ctx, input)),
    planFollowUp: (input) => orProblem(planFollowUp(ctx, input)),
  };
}

/** What a verb refuses the model may read and react to; anything else is a failure of the call. */
async function orProblem<T>(answer: Promise<T>): Promise<T | { problem: string }> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof ProblemError) return { problem: error.detail };
    throw error;
  }
}
