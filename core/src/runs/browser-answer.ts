import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { ProblemError } from "../errors.ts";
import { firstProblemCheck } from "../toolkits/argument-check.ts";
import type { Decision } from "./decisions.ts";

/** As JSON: what a model is given of a result. */
const MAX_ANSWER_LENGTH = 32_000;
/** Each value of an answer is held against each part of its schema at most: a tenth of a second, and as many problems. */
const MAX_COMPARISONS = 500_000;

/**
 * Holds what a visitor's browser answered to what was asked: there, not too long, and fitting the schema.
 *
 * @throws ProblemError `invalid_request` or `too_large`; nothing is decided, and the page may answer again, or `error`
 */
export function assertAnswers(interrupt: Interrupt, decision: Decision, payload: unknown): void {
  if (interrupt.reason !== "client_tool" || decision !== "result") return;
  const content = typeof payload === "object" && payload !== null && "content" in payload ? payload.content : undefined;
  if (content === undefined) {
    throw new ProblemError("invalid_request", "A result needs `payload.content`: any JSON, also null.");
  }
  if (JSON.stringify(content).length > MAX_ANSWER_LENGTH) {
    throw new ProblemError(
      "too_large",
      `\`payload.content\` may be ${MAX_ANSWER_LENGTH} characters of JSON. Answer less.`,
    );
  }
  if (!interrupt.responseSchema) return;
  if (countValues(interrupt.responseSchema) * countValues(content) > MAX_COMPARISONS) {
    throw new ProblemError(
      "too_large",
      "`payload.content` holds too much to be held against its schema. Answer less, or describe less.",
    );
  }
  const problem = firstProblemCheck(interrupt.responseSchema)(content);
  if (problem !== null) {
    const said = problem.replaceAll("the arguments", "it");
    throw new ProblemError("invalid_request", `\`payload.content\` does not fit what was asked: ${said}`);
  }
}

/** How many values there are in some JSON, itself included. */
function countValues(json: unknown): number {
  let count = 0;
  const left = [json];
  while (left.length > 0) {
    const value = left.pop();
    count++;
    if (typeof value === "object" && value !== null) for (const each of Object.values(value)) left.push(each);
  }
  return count;
}
