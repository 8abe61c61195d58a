/** Writes a schema from outside anew, from what every model provider and Ajv understand. The given one is not touched. */
import type { JsonSchema } from "../toolkit.ts";
import { mergeAll, oneOrAny } from "./merge-schemas.ts";
import { resolveReference } from "./resolve-reference.ts";
import { allowedValues, isRecord, plainKeywords, typesOf } from "./schema-keywords.ts";
import type { Notes } from "./schema-notes.ts";

/** The narrowest rule among the model vendors. */
const PROPERTY_NAME = /^[a-zA-Z0-9_.-]{1,64}$/;
const MAX_ALTERNATIVES = 30;
const MAX_DESCRIPTION = 1_000;

/** More parts than a schema may have at this depth. */
export class TooManyParts extends Error {}

export interface Conversion {
  /** What `#/…` refers to. */
  root: unknown;
  notes: Notes;
  /** Deeper values are described by their type alone. */
  maxDepth: number;
  /** Deeper descriptions are left out. */
  describedDepth: number;
  /** Parts that may still be read: references to references multiply. */
  partsLeft: number;
}

interface Place {
  /** For people: `customer.address`. */
  path: string;
  depth: number;
  /** Followed on the way here. */
  references: readonly string[];
}

/** The repaired schema, or why no value can be given that the other side would take. */
export type Converted = { schema: JsonSchema } | { impossible: string };

const LEFT_OUT = [
  "not",
  "if",
  "then",
  "else",
  "contains",
  "propertyNames",
  "patternProperties",
  "dependencies",
  "dependentRequired",
  "dependentSchemas",
  "unevaluatedProperties",
  "unevaluatedItems",
  "$dynamicRef",
  "$recursiveRef",
];

export function convert(conversion: Conversion, value: unknown, place: Place): Converted {
  const { notes } = conversion;
  if (--conversion.partsLeft < 0) throw new TooManyParts();
  if (value === false) return { impossible: `${nameOf(place)} allows no value` };
  if (!isRecord(value)) return { schema: {} };
  if (typeof value.$ref === "string") return followed(conversion, value, value.$ref, place);
  const types = typesOf(value, notes);
  const description = place.depth <= conversion.describedDepth ? descriptionOf(value) : {};
  if (place.depth > conversion.maxDepth) {
    notes.add(`${nameOf(place)} is described only in part, because the parameters are large or deep.`);
    return { schema: typed({ ...(types.includes("array") ? { items: {} } : {}), ...description }, types) };
  }
  for (const name of LEFT_OUT) {
    if (value[name] !== undefined) notes.addWord("Rules that not every model provider knows were left out", name);
  }
  const kept: JsonSchema = { ...plainKeywords(value, nameOf(place), notes), ...description };
  const allowed = allowedValues(value, types, nameOf(place), notes);
  if (allowed) kept.enum = allowed;
  let schema = typed(kept, types);
  if (types.includes("object")) {
    const inside = convertObject(conversion, value, place);
    if ("impossible" in inside) return inside;
    schema = { ...schema, ...inside.schema };
  }
  if (types.includes("array")) {
    const items = convertItems(conversion, value, place);
    if ("impossible" in items) return items;
    schema.items = items.schema;
    // Other than simple values are compared each with each.
    if (value.uniqueItems === true && isSimple(items.schema)) schema.uniqueItems = true;
  }
  return combined(conversion, value, schema, place);
}

function followed(conversion: Conversion, value: JsonSchema, reference: string, place: Place): Converted {
  const { notes, root } = conversion;
  const { $ref: _, ...beside } = value;
  const target = resolveReference(root, reference);
  if (target === undefined) {
    const why = reference.startsWith("#") ? "nothing is there" : "only references inside the document are followed";
    notes.add(`${nameOf(place)} refers to "${reference.slice(0, 100)}", and ${why}; any value is accepted here.`);
    return convert(conversion, beside, place);
  }
  if (place.references.includes(reference)) {
    notes.add(`${nameOf(place)} contains itself, and is described only once.`);
    const types = isRecord(target) ? typesOf(target, notes) : [];
    return { schema: typed(types.includes("array") ? { items: {} } : {}, types) };
  }
  const next = { ...place, references: [...place.references, reference] };
  // What stands beside a reference adds to it, its description first.
  return convert(
    conversion,
    isRecord(target) && Object.keys(beside).length > 0 ? { ...target, ...beside } : target,
    next,
  );
}

function convertObject(conversion: Conversion, value: JsonSchema, place: Place): Converted {
  const given = isRecord(value.properties) ? value.properties : {};
  const wanted = new Set(Array.isArray(value.required) ? (value.required as unknown[]) : []);
  const properties: [string, JsonSchema][] = [];
  for (const [name, property] of Object.entries(given)) {
    // Only ever in answers.
    if (isRecord(property) && property.readOnly === true) continue;
    const at = { ...place, path: place.path === "" ? name : `${place.path}.${name}`, depth: place.depth + 1 };
    const converted: Converted =
      PROPERTY_NAME.test(name) && name !== "__proto__"
        ? convert(conversion, property, at)
        : { impossible: `the name "${name.slice(0, 100)}" is not one that every model provider accepts` };
    if ("schema" in converted) properties.push([name, converted.schema]);
    else if (wanted.has(name)) return { impossible: `${nameOf(at)} is required, but ${converted.impossible}` };
    else conversion.notes.add(`${nameOf(at)} was left out: ${converted.impossible}.`);
  }
  const required = properties.flatMap(([name]) => (wanted.has(name) ? [name] : []));
  const schema: JsonSchema = { properties: Object.fromEntries(properties) };
  if (required.length > 0) schema.required = required;
  if (value.additionalProperties === false) schema.additionalProperties = isRecord(value.patternProperties);
  if (isRecord(value.additionalProperties)) {
    const at = { ...place, path: `${place.path}.*`, depth: place.depth + 1 };
    const others = convert(conversion, value.additionalProperties, at);
    schema.additionalProperties = "schema" in others ? others.schema : false;
  }
  return { schema };
}

function convertItems(conversion: Conversion, value: JsonSchema, place: Place): Converted {
  const at = { ...place, path: `${place.path}[]`, depth: place.depth + 1 };
  const tuple: unknown = Array.isArray(value.prefixItems) ? value.prefixItems : value.items;
  if (!Array.isArray(tuple)) return convert(conversion, value.items === false ? {} : value.items, at);
  conversion.notes.add(`${nameOf(place)} is a list with a rule for each place; each place accepts any of them.`);
  return { schema: oneOrAny(possible(tuple.map((item) => convert(conversion, item, at)))) };
}

/** With what `allOf`, `anyOf` and `oneOf` say. */
function combined(conversion: Conversion, value: JsonSchema, schema: JsonSchema, place: Place): Converted {
  let result = schema;
  if (Array.isArray(value.allOf)) {
    const parts = value.allOf.slice(0, MAX_ALTERNATIVES).map((part) => convert(conversion, part, place));
    for (const part of parts) if ("impossible" in part) return part;
    result = mergeAll([schema, ...possible(parts)]);
    const type = result.type ?? (isRecord(result.properties) ? "object" : undefined);
    if (type !== undefined) result.type = value.nullable === true ? [...new Set([type, "null"].flat())] : type;
  }
  for (const keyword of ["anyOf", "oneOf"]) {
    const parts = value[keyword];
    if (!Array.isArray(parts) || parts.length === 0) continue;
    if (parts.length > MAX_ALTERNATIVES) {
      conversion.notes.add(`${nameOf(place)} has ${parts.length} alternatives, too many for a model; any is accepted.`);
      continue;
    }
    const branches = possible(parts.map((part) => convert(conversion, part, place)));
    if (branches.length === 0) return { impossible: `${nameOf(place)} allows none of its alternatives` };
    if (value.nullable === true) branches.push({ type: "null" });
    const choice = oneOrAny(unique(branches));
    // Two lists of alternatives at one place: the first is enough of a hint.
    if (result.anyOf === undefined || choice.anyOf === undefined) result = mergeAll([result, choice]);
  }
  return { schema: result };
}

function possible(parts: readonly Converted[]): JsonSchema[] {
  return parts.flatMap((part) => ("schema" in part ? [part.schema] : []));
}

function unique(schemas: readonly JsonSchema[]): JsonSchema[] {
  return [...new Map(schemas.map((schema) => [JSON.stringify(schema), schema])).values()];
}

function typed(schema: JsonSchema, types: readonly string[]): JsonSchema {
  if (types.length === 0) return schema;
  return { type: types.length === 1 ? types[0] : types, ...schema };
}

function isSimple(schema: JsonSchema): boolean {
  return typeof schema.type === "string" && schema.type !== "object" && schema.type !== "array";
}

function descriptionOf(schema: JsonSchema): { description?: string } {
  const text = [schema.description, schema.title].find((one) => typeof one === "string" && one.trim() !== "");
  return typeof text === "string" ? { description: text.trim().slice(0, MAX_DESCRIPTION).toWellFormed() } : {};
}

function nameOf({ path }: Place): string {
  return path === "" ? "The parameters" : `"${path.slice(0, 120)}"`;
}
