/** Puts several repaired schemas of objects into one. */
import type { JsonSchema } from "../toolkit.ts";
import { isRecord } from "./schema-keywords.ts";

type Properties = Record<string, JsonSchema>;

/** All of them hold (`allOf`). What two say differently is taken from the first that says it. */
export function mergeAll(given: readonly JsonSchema[]): JsonSchema {
  const type = given.find((schema) => schema.type !== undefined)?.type;
  const schemas = given.filter((schema) => sharesType(schema.type, type));
  const properties = new Map<string, JsonSchema>();
  for (const schema of schemas) {
    for (const [name, property] of Object.entries(propertiesOf(schema))) {
      const known = properties.get(name);
      properties.set(name, known ? { ...property, ...known } : property);
    }
  }
  const required = [...new Set(schemas.flatMap(requiredOf))].filter((name) => properties.has(name));
  const merged: JsonSchema = {};
  for (const schema of schemas.toReversed()) Object.assign(merged, schema);
  if (properties.size > 0 || "properties" in merged) merged.properties = Object.fromEntries(properties);
  if (required.length > 0) merged.required = required;
  else delete merged.required;
  // Each was closed against the others' properties too.
  if (schemas.length > 1 && schemas.some((schema) => schema.additionalProperties === false)) {
    delete merged.additionalProperties;
  }
  return merged;
}

/** One of them holds: all properties are offered, and only what every one requires is required. */
export function mergeAny(schemas: readonly JsonSchema[]): JsonSchema {
  const properties = new Map<string, JsonSchema[]>();
  for (const schema of schemas) {
    for (const [name, property] of Object.entries(propertiesOf(schema))) {
      const known = properties.get(name) ?? [];
      const text = JSON.stringify(property);
      if (!known.some((other) => JSON.stringify(other) === text)) known.push(property);
      properties.set(name, known);
    }
  }
  const required = requiredOf(schemas[0] ?? {}).filter((name) =>
    schemas.every((schema) => requiredOf(schema).includes(name)),
  );
  return {
    type: "object",
    properties: Object.fromEntries([...properties].map(([name, found]) => [name, oneOrAny(found)])),
    ...(required.length > 0 ? { required } : {}),
  };
}

function sharesType(one: unknown, other: unknown): boolean {
  return one === undefined || [one].flat().some((type) => [other].flat().includes(type));
}

/** One schema for several that are allowed. */
export function oneOrAny(schemas: readonly JsonSchema[]): JsonSchema {
  const [only] = schemas;
  if (only && schemas.length === 1) return only;
  if (schemas.length === 0 || schemas.some((schema) => Object.keys(schema).length === 0)) return {};
  return { anyOf: [...schemas] };
}

export function propertiesOf(schema: JsonSchema): Properties {
  return isRecord(schema.properties) ? (schema.properties as Properties) : {};
}

export function requiredOf(schema: JsonSchema): string[] {
  return Array.isArray(schema.required) ? (schema.required as string[]) : [];
}
