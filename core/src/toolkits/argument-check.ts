import { createRequire } from "node:module";
import type * as ajvPackage from "ajv";
import type { Ajv, ValidateFunction } from "ajv";
import { createKeptTexts, type KeptTexts } from "./kept-texts.ts";
import type { JsonSchema } from "./toolkit.ts";

/** Compiling costs milliseconds and schemas repeat from run to run. What comes of one takes fifty times its length. */
const KEPT = { texts: 2_000, characters: 2_000_000 };
const MAX_PROBLEMS = 5;

interface Compiler {
  ajv: Ajv | null;
  compiled: KeptTexts<ValidateFunction>;
}

/** Models correct all of their mistakes at once. */
const everyProblem: Compiler = { ajv: null, compiled: createKeptTexts(KEPT) };
/** Of a stranger's schema, all problems together may be millions. */
const firstProblem: Compiler = { ajv: null, compiled: createKeptTexts({ ...KEPT, characters: 200_000 }) };

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
  return checkBy(compile(schema, everyProblem));
}

/** As `argumentCheck`, and says no more than what is wrong first. */
export function firstProblemCheck(schema: JsonSchema): (value: unknown) => string | null {
  return checkBy(compile(schema, firstProblem));
}

/** Why a schema does not compile; null when it does. `check`: whose arguments it is for. */
export function badSchema(schema: JsonSchema, check: typeof argumentCheck = argumentCheck): BadSchema | null {
  try {
    check(schema);
    return null;
  } catch (error) {
    if (error instanceof BadSchema) return error;
    throw error;
  }
}

function checkBy(validate: ValidateFunction): (value: unknown) => string | null {
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
function ajvOf(compiler: Compiler): Ajv {
  if (compiler.ajv) return compiler.ajv;
  const load = createRequire(import.meta.url) as (name: "ajv") => typeof ajvPackage;
  const allErrors = compiler === everyProblem;
  // Unoptimized, what is long compiles several times as fast, and runs no slower that anybody would notice.
  const options = { strict: false, allErrors, validateFormats: false, addUsedSchema: false, code: { optimize: false } };
  return (compiler.ajv = new (load("ajv").Ajv)({ ...options, logger: false }));
}

function compile(schema: JsonSchema, compiler: Compiler): ValidateFunction {
  const { compiled } = compiler;
  const key = JSON.stringify(schema);
  const known = compiled.get(key);
  if (known) return known;
  let validate: ValidateFunction;
  try {
    // Without its `$schema` and `$id`: drafts we have not loaded are near enough, and ids of two tenants may be equal.
    const { $schema: _draft, $id: _id, ...rest } = schema;
    validate = ajvOf(compiler).compile(rest);
    // Our map bounds what is kept; its own cache would grow for ever.
    ajvOf(compiler).removeSchema(rest);
  } catch (error) {
    throw new BadSchema(error instanceof Error ? error.message : String(error));
  }
  compiled.keep(key, validate);
  return validate;
}
