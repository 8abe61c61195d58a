/** Tools that take a file: what a model can give for one, and where in the arguments it stands. */
import type { JsonSchema } from "../toolkit.ts";

/** The way to a file in the arguments; `*` stands for each entry of a list. */
export type FilePath = string[];

const MAX_DEPTH = 8;

const GIVEN_FILE = {
  type: "object",
  description: "A file: its content as `text`, or the public address (`url`) that it is to be taken from.",
  properties: {
    name: { type: "string", description: "With its extension." },
    mimetype: { type: "string" },
    text: { type: "string" },
    url: { type: "string" },
  },
  required: ["name"],
  additionalProperties: false,
};

/** The schema with each file as a model can give it, and the ways to them. Never changes what it is given. */
export function withGivenFiles(schema: unknown): { schema: unknown; paths: FilePath[] } {
  const paths: FilePath[] = [];
  return { schema: replaceIn(schema, [], paths), paths };
}

function replaceIn(node: unknown, path: FilePath, paths: FilePath[]): unknown {
  if (typeof node !== "object" || node === null || Array.isArray(node) || path.length > MAX_DEPTH) return node;
  const schema = node as JsonSchema;
  if (schema.file_uploadable === true) {
    paths.push(path);
    return GIVEN_FILE;
  }
  return Object.fromEntries(
    Object.entries(schema).map(([keyword, value]) => {
      if (keyword === "properties" && typeof value === "object" && value !== null) {
        const properties = Object.entries(value).map(([name, property]) => [
          name,
          replaceIn(property, [...path, name], paths),
        ]);
        return [keyword, Object.fromEntries(properties)];
      }
      if (keyword === "items") return [keyword, replaceIn(value, [...path, "*"], paths)];
      if (/^(anyOf|oneOf|allOf)$/.test(keyword) && Array.isArray(value)) {
        return [keyword, value.map((variant) => replaceIn(variant, path, paths))];
      }
      return [keyword, value];
    }),
  );
}

/** The arguments with `change` made of what stands at the end of each way. */
export async function changeAt(
  value: unknown,
  path: readonly string[],
  change: (found: unknown) => Promise<unknown>,
): Promise<unknown> {
  const [step, ...rest] = path;
  if (value === undefined || value === null) return value;
  if (step === undefined) return change(value);
  if (step === "*") {
    return Array.isArray(value) ? Promise.all(value.map((entry) => changeAt(entry, rest, change))) : value;
  }
  if (typeof value !== "object" || Array.isArray(value) || !(step in value)) return value;
  const object = value as Record<string, unknown>;
  return { ...object, [step]: await changeAt(object[step], rest, change) };
}
