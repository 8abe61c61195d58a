/** What a schema says of one value, without what is inside it: kept where every model provider and Ajv understand it. */
import { isSafePattern } from "./safe-pattern.ts";
import type { JsonSchema } from "../toolkit.ts";
import type { Notes } from "./schema-notes.ts";

export type TypeName = "object" | "array" | "string" | "number" | "integer" | "boolean" | "null";

const TYPES: Readonly<Record<string, TypeName>> = {
  object: "object",
  array: "array",
  string: "string",
  number: "number",
  integer: "integer",
  boolean: "boolean",
  null: "null",
  // What people and generators write instead.
  dict: "object",
  list: "array",
  tuple: "array",
  str: "string",
  file: "string",
  float: "number",
  double: "number",
  int: "integer",
  long: "integer",
  bool: "boolean",
};

const FORMATS = new Set(["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uuid"]);
/** Say how a value is stored, which is nothing to a model. */
const STORAGE_FORMATS = new Set(["int32", "int64", "float", "double", "byte", "binary", "password", "unix-time"]);
const COUNTS = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];
const MAX_ENUM = 300;
const MAX_ENUM_TEXT = 8_000;
const MAX_DEFAULT = 500;

/** The types that a schema names or lets one guess; empty: any. */
export function typesOf(schema: JsonSchema, notes: Notes): TypeName[] {
  const named = (Array.isArray(schema.type) ? schema.type : [schema.type]).flatMap((type: unknown) => {
    if (typeof type !== "string") return [];
    const known = Object.hasOwn(TYPES, type.toLowerCase()) ? TYPES[type.toLowerCase()] : undefined;
    if (!known && !/^(none|any|mixed|)$/i.test(type)) notes.addWord("Types that do not exist were left out", type);
    return known ? [known] : [];
  });
  const types = named.length > 0 ? named : guessed(schema);
  if (schema.nullable === true && types.length > 0) types.push("null");
  const unique = new Set(types);
  // A number may be an integer anyway.
  if (unique.has("number")) unique.delete("integer");
  return [...unique];
}

function guessed(schema: JsonSchema): TypeName[] {
  if (isRecord(schema.properties)) return ["object"];
  if (schema.items !== undefined || Array.isArray(schema.prefixItems)) return ["array"];
  if (typeof schema.pattern === "string" || typeof schema.minLength === "number") return ["string"];
  return [];
}

/** Allowed values that fit the types, each once; null when there is no such list, or too long a one. */
export function allowedValues(schema: JsonSchema, types: readonly TypeName[], place: string, notes: Notes) {
  const listed = Object.hasOwn(schema, "const") ? [schema.const] : schema.enum;
  if (!Array.isArray(listed)) return null;
  const values = [...new Set(listed.filter((value) => isScalar(value) && fits(value, types)))];
  if (schema.nullable === true && !values.includes(null)) values.push(null);
  if (values.length === 0 || (values.every((value) => value === null) && !types.includes("null"))) return null;
  if (values.length > MAX_ENUM || JSON.stringify(values).length > MAX_ENUM_TEXT) {
    notes.add(`${place} allows ${values.length} values, too many to list for a model; any is accepted here.`);
    return null;
  }
  return values;
}

function fits(value: unknown, types: readonly TypeName[]): boolean {
  if (types.length === 0) return true;
  if (value === null) return types.includes("null");
  if (typeof value === "number")
    return types.includes("number") || (types.includes("integer") && Number.isInteger(value));
  return types.includes(typeof value as TypeName);
}

/** Bounds, format, pattern, default and description. */
export function plainKeywords(schema: JsonSchema, place: string, notes: Notes): JsonSchema {
  const kept: JsonSchema = {};
  for (const name of COUNTS) {
    const value = schema[name];
    if (Number.isSafeInteger(value) && (value as number) >= 0) kept[name] = value;
  }
  addBound(kept, schema, "minimum", "exclusiveMinimum");
  addBound(kept, schema, "maximum", "exclusiveMaximum");
  // Fractions are not exact: 0.07 is no multiple of 0.01 to a computer.
  if (Number.isSafeInteger(schema.multipleOf) && (schema.multipleOf as number) > 0) kept.multipleOf = schema.multipleOf;
  if (typeof schema.format === "string") {
    if (FORMATS.has(schema.format)) kept.format = schema.format;
    else if (!STORAGE_FORMATS.has(schema.format)) {
      notes.addWord("Formats that not every model provider knows were left out", schema.format);
    }
  }
  if (typeof schema.pattern === "string") {
    if (isSafePattern(schema.pattern)) kept.pattern = schema.pattern;
    else notes.add(`${place}: its pattern was left out, because it is not valid or could take very long to check.`);
  }
  if (isScalar(schema.default) && JSON.stringify(schema.default).length <= MAX_DEFAULT) kept.default = schema.default;
  return kept;
}

/** OpenAPI 3.0 and old drafts say `exclusiveMinimum: true` next to `minimum`. */
function addBound(kept: JsonSchema, schema: JsonSchema, name: string, exclusive: string): void {
  const bound = schema[name];
  const limit = schema[exclusive];
  if (Number.isFinite(bound)) kept[limit === true ? exclusive : name] = bound;
  if (Number.isFinite(limit)) kept[exclusive] = limit;
}

function isScalar(value: unknown): boolean {
  return value === null || typeof value === "string" || typeof value === "boolean" || Number.isFinite(value);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
