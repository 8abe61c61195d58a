import { createRequire } from "node:module";
import type * as ajvPackage from "ajv";
import type { Ajv, ValidateFunction } from "ajv";
import type { JsonSchema } from "./toolkit.ts";

/** Compiling costs milliseconds and schemas repeat from run to run. */
const MAX_COMPILED = 2_000;
const MAX_PROBLEMS = 5;

let compiler: Ajv | null = null;
const compiled = new Map<string, ValidateFunction>();

/** Tools' schemas come from outside: one that does not compile leaves its tool out. */
export class BadSchema extends Error {
  readonly why: string;

  constructor(why: string) {
    super(`The parameters are not a usable JSON Schema: ${why}`);
    this.name = "BadSchema";
    this.why = why;
  }
}

/**
 * Null when the arguments fit, otherwise what is wrong, in words that a model can act on.
 * @throws BadSchema when called for the first time with a schema that does not compile
 */
export function argumentCheck(schema: JsonSchema): (value: unknown) => string | null {
  const validate = compile(schema);
  return (value) => {
    if (validate(value)) return null;
    const errors = validate.errors ?? [];
    const problems = errors.slice(0, MAX_PROBLEMS).map((error) => {
      const place = error.instancePath === "" ? "the arguments" : error.instancePath.slice(1).replaceAll("/", ".");
      const extra = error.keyword === "additionalProperties" ? ` ("${String(error.params.additionalProperty)}")` : "";
      const allowed = error.keyword === "enum" ? `: ${JSON.stringify(error.params.allowedValues)}` : "";
      return `${place} ${error.message ?? "is not valid"}${extra}${allowed}`;
    });
    return `${problems.join("; ")}.`;
  };
}

/** Loaded for the first schema: 11 MB that many a process never needs. */
function ajv(): Ajv {
  if (compiler) return compiler;
  const load = createRequire(import.meta.url) as (name: "ajv") => typeof ajvPackage;
  const options = { strict: false, allErrors: true, validateFormats: false, addUsedSchema: false } as const;
  return (compiler = new (load("ajv").Ajv)({ ...options, logger: false }));
}

function compile(schema: JsonSchema): ValidateFunction {
  const key = JSON.stringify(schema);
  const known = compiled.get(key);
  if (known) return known;
  let validate: ValidateFunction;
  try {
    // Without its `$schema` and `$id`: drafts we have not loaded are near enough, and ids of two tenants may be equal.
    const { $schema: _draft, $id: _id, ...rest } = schema;
    validate = ajv().compile(rest);
    // Our map bounds what is kept; its own cache would grow for ever.
    ajv().removeSchema(rest);
  } catch (error) {
    throw new BadSchema(error instanceof Error ? error.message : String(error));
  }
  const [oldest] = compiled.keys();
  if (compiled.size >= MAX_COMPILED && oldest !== undefined) compiled.delete(oldest);
  compiled.set(key, validate);
  return validate;
}
