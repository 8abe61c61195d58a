import { cleanText } from "@agent-engine/protocol/clean-text.ts";

/** The same JSON with NUL and lone surrogates, which `jsonb` refuses, replaced by U+FFFD; in keys too. */
export function cleanJson<T>(value: T): T {
  return JSON.parse(jsonbOf(value)) as T;
}

/**
 * A value for a `jsonb` column, which refuses NUL and lone surrogates, as models and tools write them: both become
 * U+FFFD, in keys too. What must be kept exactly as it came belongs into a `json` column.
 */
export function jsonbOf(value: unknown): string {
  const json = JSON.stringify(value);
  return /\\u(0000|d[89a-f])/.test(json) ? JSON.stringify(cleaned(value)) : json;
}

function cleaned(value: unknown): unknown {
  if (typeof value === "string") return cleanText(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, entry]) => [cleanText(key), cleaned(entry)]));
}
