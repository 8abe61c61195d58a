import type { Budget } from "@agent-engine/protocol/budgets.ts";
import { ProblemError } from "../errors.ts";

type Checked = Pick<Budget, "maxRuns" | "maxTokens" | "maxCostMicros" | "fallbackModel">;

/** What a schema cannot see. Throws `invalid_request`. */
export function checkBudget({ maxRuns, maxTokens, maxCostMicros, fallbackModel }: Checked): void {
  if (maxRuns === null && maxTokens === null && maxCostMicros === null) {
    throw new ProblemError("invalid_request", "Give at least one of `maxRuns`, `maxTokens` and `maxCostMicros`.");
  }
  if (!fallbackModel || fallbackModel.provider !== "openai-compatible") return;
  if (!fallbackModel.settings.baseUrl || fallbackModel.name === null) {
    throw new ProblemError(
      "invalid_request",
      "`fallbackModel` of the provider `openai-compatible` needs a `name` and `settings.baseUrl`.",
    );
  }
}
