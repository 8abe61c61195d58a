/**
 * Makes the parameters of a tool from outside valid for every model provider (OpenAI's and Anthropic's rules) and for our
 * own check, or says why that cannot be. What a model cannot be told is left out, with a sentence for the tenant's admins:
 * the service behind the tool still checks what it is given.
 */
import { badSchema } from "../argument-check.ts";
import type { JsonSchema } from "../toolkit.ts";
import { convert, TooManyParts, type Conversion, type Converted } from "./convert-schema.ts";
import { mergeAll, mergeAny } from "./merge-schemas.ts";
import { isRecord } from "./schema-keywords.ts";
import { createNotes, type Notes } from "./schema-notes.ts";

/** In characters of JSON: what a model reads before each of its answers. */
const MAX_SCHEMA_LENGTH = 20_000;
const MAX_PARTS = 3_000;
/** Tried in turn until the result is small enough. */
const LEVELS = [
  { maxDepth: 10, describedDepth: 10 },
  { maxDepth: 6, describedDepth: 2 },
  { maxDepth: 4, describedDepth: 1 },
  { maxDepth: 2, describedDepth: 1 },
  { maxDepth: 1, describedDepth: 1 },
  { maxDepth: 0, describedDepth: 1 },
  { maxDepth: 0, describedDepth: 0 },
] as const;

export type RepairedSchema = { schema: JsonSchema; notes: string[] } | { problem: string };

/**
 * `root`: the document that references lead into; the schema itself by default. Never changes what it is given, and
 * never throws.
 */
export function repairSchema(given: unknown, root: unknown = given): RepairedSchema {
  const simple = simplifySchema(given, root);
  if ("problem" in simple) return simple;
  const bad = badSchema(simple.schema);
  return bad ? { problem: bad.message } : simple;
}

/** The same without compiling the result, which takes most of the time: for what is only looked at, or repaired again. */
export function simplifySchema(given: unknown, root: unknown = given): RepairedSchema {
  for (const level of LEVELS) {
    const notes = createNotes();
    let converted: Converted;
    try {
      converted = convertRoot({ root, notes, ...level, partsLeft: MAX_PARTS }, given);
    } catch (error) {
      if (error instanceof TooManyParts) continue;
      throw error;
    }
    if ("impossible" in converted) return { problem: `${converted.impossible}.` };
    const { schema } = converted;
    if (JSON.stringify(schema).length > MAX_SCHEMA_LENGTH) continue;
    return { schema, notes: notes.list() };
  }
  return { problem: "The parameters are too large for a model." };
}

/** An object at the top, and no alternatives there: some providers refuse them. */
function convertRoot(conversion: Conversion, given: unknown): Converted {
  if (given === undefined || given === null) return { schema: { type: "object", properties: {} } };
  if (given !== true && given !== false && !isRecord(given)) {
    return { impossible: "The parameters are not a JSON Schema" };
  }
  const converted = convert(conversion, given, { path: "", depth: 0, references: [] });
  if ("impossible" in converted) return converted;
  return flattened(converted.schema, conversion.notes);
}

function flattened(schema: JsonSchema, notes: Notes): Converted {
  const {
    anyOf,
    enum: _values,
    default: _default,
    format: _format,
    pattern: _pattern,
    items: _items,
    ...rest
  } = schema;
  const types = schema.type === undefined ? ["object"] : [schema.type].flat();
  if (!types.includes("object")) return { impossible: "The parameters are not an object" };
  let merged = rest;
  if (Array.isArray(anyOf)) {
    const branches = (anyOf as JsonSchema[]).filter((branch) => isObject(branch));
    if (branches.length === 0 && schema.type === undefined) {
      return { impossible: "The parameters are not an object" };
    }
    const flat = branches.flatMap((branch) => {
      const inner = flattened(branch, notes);
      return "schema" in inner ? [inner.schema] : [];
    });
    if (flat.some((branch) => Object.keys(branch.properties as object).length > 0)) {
      notes.add(
        "The parameters have alternatives; they are offered together, and the service says when they do not fit.",
      );
    }
    if (flat.length > 0) merged = mergeAll([rest, mergeAny(flat)]);
  }
  return { schema: { ...merged, type: "object", properties: isRecord(merged.properties) ? merged.properties : {} } };
}

function isObject({ type, anyOf }: JsonSchema): boolean {
  return type === undefined ? Array.isArray(anyOf) : [type].flat().includes("object");
}
