import type { Interrupt } from "@agent-engine/protocol/events.ts";
import { ProblemError } from "../errors.ts";
import { argumentCheck } from "../toolkits/argument-check.ts";
import type { Decision } from "./decisions.ts";

/** As JSON: what a model is given of a result. */
const MAX_ANSWER_LENGTH = 32_000;

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
  const problem = argumentCheck(interrupt.responseSchema)(content);
  if (problem !== null) {
    const said = problem.replaceAll("the arguments", "it");
    throw new ProblemError("invalid_request", `\`payload.content\` does not fit what was asked: ${said}`);
  }
}
