import { isSafePattern } from "../toolkits/schema/safe-pattern.ts";

/** What follows these are values, not schemas. */
const VALUES = new Set(["const", "default", "enum", "examples"]);
/** Their keys are names, whose values are schemas. */
const NAMED = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"]);
const REFERENCES = ["$ref", "$dynamicRef", "$recursiveRef"];
/** Characters of JSON: compiling takes some ten microseconds for each. */
const MAX_LENGTH = 4_000;
/** Each is compared with each. */
const MAX_UNIQUE_ITEMS = 1_000;
/** Each may be tried on all of an answer, in some twenty milliseconds. */
const MAX_PATTERNS = 20;

/**
 * Why a schema that a visitor's browser sent must not be held against what that browser answers; null when it may. Both
 * are a stranger's, and are worked through by the server: the work must be bounded by what they send. So no pattern may
 * take more than linear time, and no reference may make a small schema a large one.
 */
export function unsafePart(schema: unknown): string | null {
  const length = JSON.stringify(schema).length;
  if (length > MAX_LENGTH) return `it is longer than ${MAX_LENGTH} characters of JSON`;
  const seen = { patterns: 0 };
  const unsafe = unsafeAt(schema, seen);
  return unsafe === null && seen.patterns > MAX_PATTERNS ? `it has more than ${MAX_PATTERNS} patterns` : unsafe;
}

interface Seen {
  patterns: number;
}

function unsafeAt(schema: unknown, seen: Seen): string | null {
  if (Array.isArray(schema)) return firstOf(schema, seen);
  if (typeof schema !== "object" || schema === null) return null;
  const keywords: Record<string, unknown> = { ...schema };
  const unsafe = unsafeKeyword(keywords, seen);
  if (unsafe !== null) return unsafe;
  const inside = Object.entries(keywords).flatMap(([keyword, value]) => {
    if (VALUES.has(keyword)) return [];
    return NAMED.has(keyword) && typeof value === "object" && value !== null ? Object.values(value) : [value];
  });
  return firstOf(inside, seen);
}

function unsafeKeyword(keywords: Record<string, unknown>, seen: Seen): string | null {
  const { pattern, patternProperties, uniqueItems, maxItems } = keywords;
  const reference = REFERENCES.find((keyword) => Object.hasOwn(keywords, keyword));
  if (reference !== undefined) return `\`${reference}\` is not taken here; write out what it stands for`;
  const patterns = [
    ...(pattern === undefined ? [] : [pattern]),
    ...(typeof patternProperties === "object" ? Object.keys(patternProperties ?? {}) : []),
  ];
  seen.patterns += patterns.length;
  const slow = patterns.find((each) => typeof each !== "string" || !isSafePattern(each));
  if (slow !== undefined) return `the pattern ${JSON.stringify(slow)} may take too long to try`;
  const isLong = typeof maxItems !== "number" || maxItems > MAX_UNIQUE_ITEMS;
  return uniqueItems === true && isLong ? `\`uniqueItems\` needs a \`maxItems\` of ${MAX_UNIQUE_ITEMS} at most` : null;
}

function firstOf(schemas: readonly unknown[], seen: Seen): string | null {
  for (const schema of schemas) {
    const problem = unsafeAt(schema, seen);
    if (problem !== null) return problem;
  }
  return null;
}
