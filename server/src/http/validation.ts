import type { z } from "zod";
import { ProblemError } from "@agent-engine/core/errors.ts";

interface FieldError {
  /** Where: `model.settings.temperature`, `suggestions[2]`; empty for the body as a whole. */
  field: string;
  message: string;
}

const SHOWN_IN_DETAIL = 3;

/** Parses with a schema; throws `invalid_request` that names every field and what to do. */
export function validate<T>(schema: z.ZodType<T>, input: unknown, where: "body" | "query" | "request"): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const described = parsed.error.issues.flatMap((issue) => describe(issue, input, where));
  // A field of the wrong type may break its other rules too: the first complaint is the one to act on.
  const errors = described.filter(({ field }, index) => described.findIndex((each) => each.field === field) === index);
  const shown = errors.slice(0, SHOWN_IN_DETAIL).map(({ message }) => message);
  if (errors.length > SHOWN_IN_DETAIL) shown.push(`And ${errors.length - SHOWN_IN_DETAIL} more, see \`errors\`.`);
  throw new ProblemError("invalid_request", shown.join(" "), { extra: { errors } });
}

function describe(issue: z.core.$ZodIssue, input: unknown, where: "body" | "query" | "request"): FieldError[] {
  const field = pathText(issue.path);
  const name = field === "" ? `The ${where}` : `\`${field}\``;
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((key) => ({
      field: pathText([...issue.path, key]),
      message: `\`${pathText([...issue.path, key]).slice(0, 100)}\` is not a field of this request. Remove it.`,
    }));
  }
  return [{ field, message: `${name} ${complaint(issue, valueAt(input, issue.path))}.` }];
}

function complaint(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case "invalid_type":
      return value === undefined
        ? `is required (${issue.expected})`
        : `must be ${article(issue.expected)}, not ${kindOf(value)}`;
    case "too_small":
      return issue.origin === "string" && issue.minimum === 1
        ? "must not be empty"
        : `must be at least ${issue.minimum}${unit(issue.origin)}`;
    case "too_big":
      return `must be at most ${issue.maximum}${unit(issue.origin)}`;
    case "invalid_value":
      return `must be one of ${issue.values.map((each) => JSON.stringify(each)).join(", ")}`;
    case "invalid_format":
      return issue.format === "regex" ? sentence(issue.message) : `must be a valid ${issue.format}`;
    default:
      return sentence(issue.message);
  }
}

/** A schema's own words when they continue "`field` …", else wrapped so that they do. */
function sentence(message: string): string {
  return /^(must|are|is|may) /.test(message) ? message : `is not valid: ${message}`;
}

function article(type: string): string {
  if (type === "int") return "a whole number";
  return /^[aeio]/.test(type) ? `an ${type}` : `a ${type}`;
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return article(typeof value);
}

function unit(origin: string): string {
  if (origin === "string") return " characters long";
  return origin === "array" || origin === "set" ? " items long" : "";
}

function pathText(path: readonly PropertyKey[]): string {
  let text = "";
  for (const part of path)
    text += typeof part === "number" ? `[${part}]` : text === "" ? String(part) : `.${String(part)}`;
  return text;
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const part of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, part)) return undefined;
    value = Reflect.get(value, part);
  }
  return value;
}
