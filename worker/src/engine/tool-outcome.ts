import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { ReusedFrom } from "@agent-engine/core/runs/reused-from.ts";
import type { ToolAnswer, ToolSource } from "@agent-engine/core/toolkits/toolkit.ts";

/** How an invocation ended. Plain data: recorded once, and enough to go on from after a take-over. */
export type ToolOutcome =
  | { status: "succeeded"; content: string; reused?: ReusedFrom }
  /** The tool refused, or a person declined: certain to have had no effect. `content` tells the model. */
  | { status: "failed"; content: string; failure: Failure; reused?: ReusedFrom }
  /** Sent, and nobody knows whether it happened: a person decides. `interruptId`: the question, whenever it is asked. */
  | { status: "outcome_unknown"; failure: Failure; interruptId?: string }
  /** Never answered because the run was cancelled; only for calls that change nothing. */
  | { status: "cancelled" };

export type AnsweredOutcome = Extract<ToolOutcome, { content: string }>;
export type ReusedOutcome = AnsweredOutcome & { reused: ReusedFrom };

/** Most of a result that a model is given, in UTF-16 units. */
export const MAX_RESULT_LENGTH = 32_000;

export const CANCELLED_RESULT = JSON.stringify({ error: "The run was cancelled before this call was answered." });
export const MISSING_RESULT = JSON.stringify({ error: "This call was interrupted and has no result." });

/** The text a model reads for an answer: text as it is, anything else as JSON, cut where it is too long. */
export function resultText(answer: ToolAnswer, firstSourceNumber: number): string {
  if (answer.sources) return sourcesText(answer.sources, firstSourceNumber);
  const text = typeof answer.content === "string" ? answer.content : (JSON.stringify(answer.content) ?? "null");
  return cutText(text, MAX_RESULT_LENGTH);
}

/** The numbers are what the answer cites as `[n]`; `numberedSources` reads them back from the log. */
function sourcesText(sources: readonly ToolSource[], firstNumber: number): string {
  const listed: NumberedSource[] = [];
  let length = 0;
  for (const [index, source] of sources.entries()) {
    const numbered = { number: firstNumber + index, ...source };
    length += JSON.stringify(numbered).length + 1;
    if (length > MAX_RESULT_LENGTH - 100 && listed.length > 0) break;
    listed.push(length > MAX_RESULT_LENGTH - 100 ? { ...numbered, quote: cutText(source.quote, 4_000) } : numbered);
  }
  return JSON.stringify({ sources: listed });
}

export interface NumberedSource extends ToolSource {
  number: number;
}

/** The sources in a result as `resultText` wrote it; none when it holds no sources. Never throws. */
export function numberedSources(result: string | null): readonly NumberedSource[] {
  if (!result?.startsWith('{"sources":[')) return [];
  try {
    const parsed = JSON.parse(result) as { sources: unknown[] };
    return parsed.sources.filter(isNumberedSource);
  } catch {
    return [];
  }
}

function isNumberedSource(value: unknown): value is NumberedSource {
  if (typeof value !== "object" || value === null) return false;
  const source = value as Record<string, unknown>;
  return (
    typeof source.number === "number" &&
    typeof source.documentId === "string" &&
    typeof source.title === "string" &&
    typeof source.quote === "string" &&
    (source.url === null || typeof source.url === "string")
  );
}

/** Cuts without splitting a character, and says that it was cut. */
export function cutText(text: string, maxLength: number): string {
  if (text.length <= maxLength) return text;
  const notice = ` … [cut: ${text.length} characters in all]`;
  const end = maxLength - notice.length;
  const splits = (text.charCodeAt(end - 1) & 0xfc00) === 0xd800;
  return text.slice(0, splits ? end - 1 : end) + notice;
}

/** What a model is told when its call could not be made or was refused. */
export function errorText(message: string): string {
  return JSON.stringify({ error: cutText(message, 2_000) });
}
