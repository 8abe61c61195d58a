import type { ModelScript } from "./model-script.ts";

/** What follows it in the last user message, to its end, is JSON that scripts the model. */
export const DIRECTIVE_MARKER = "@@model ";

/** What the model does at one turn; several scripts are its attempts, of which the last one repeats. */
export type ModelTurn = ModelScript | readonly ModelScript[];

/** The scripts of one run: a turn for each time the model is asked after the same user message. */
export interface ModelDirective {
  turns: readonly ModelTurn[];
}

/** A message that scripts the model wherever it goes: `say("Hello", { steps: […] })`. */
export function say(text: string, ...turns: ModelTurn[]): string {
  return `${text} ${DIRECTIVE_MARKER}${JSON.stringify({ turns } satisfies ModelDirective)}`;
}

/** The directive in a message, or null. Throws when what follows the marker is not one, so that a typo fails the test. */
export function readDirective(text: string): ModelDirective | null {
  const at = text.indexOf(DIRECTIVE_MARKER);
  if (at < 0) return null;
  const parsed: unknown = JSON.parse(text.slice(at + DIRECTIVE_MARKER.length));
  if (!isDirective(parsed)) throw new Error(`the directive needs "turns", each with "steps"`);
  return parsed;
}

function isDirective(value: unknown): value is ModelDirective {
  if (typeof value !== "object" || value === null || !("turns" in value) || !Array.isArray(value.turns)) return false;
  return value.turns.every((turn: unknown) => (Array.isArray(turn) ? turn : [turn]).every(isScript));
}

function isScript(value: unknown): value is ModelScript {
  return typeof value === "object" && value !== null && "steps" in value && Array.isArray(value.steps);
}

/** Picks the script of an attempt at a turn; null when the directive says nothing about that turn. */
export function scriptOf(directive: ModelDirective, turn: number, attempt: number): ModelScript | null {
  const chosen = directive.turns[turn];
  if (chosen === undefined) return null;
  if (!isAttempts(chosen)) return chosen;
  return chosen[Math.min(attempt, chosen.length - 1)] ?? null;
}

function isAttempts(turn: ModelTurn): turn is readonly ModelScript[] {
  return Array.isArray(turn);
}
