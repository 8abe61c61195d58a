/** Which arguments of a tool go where in its request, from an operation's parameters. */
import { pathArguments } from "../http/http-settings.ts";
import type { JsonSchema } from "../toolkit.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import { followed, type OpenapiOperation } from "./openapi-parts.ts";
import type { OpenapiDocument } from "./read-document.ts";

export interface ParameterPlace {
  /** The argument. */
  argument: string;
  /** What the service calls it. */
  name: string;
  in: "path" | "query" | "header";
  /** How lists and objects are written. */
  style: "repeat" | "comma" | "space" | "pipe" | "deep" | "json";
}

export interface OperationParameters {
  places: ParameterPlace[];
  properties: Record<string, JsonSchema>;
  required: string[];
}

/** Ours to set, or nobody's. */
const OWN_HEADERS =
  /^(accept|authorization|connection|content-length|content-type|cookie|expect|host|keep-alive|proxy-.*|sec-.*|te|trailer|transfer-encoding|upgrade|via|x-forwarded-.*|forwarded)$/i;
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$/;

/** `isSet`: what the toolkit's settings send by themselves. */
export function operationParameters(
  document: OpenapiDocument,
  { path, pathItem, operation }: OpenapiOperation,
  isSet: (place: "query" | "header", name: string) => boolean,
): OperationParameters | { problem: string } {
  const found = new Map<string, Record<string, unknown>>();
  for (const given of [pathItem.parameters, operation.parameters].flatMap((list) =>
    Array.isArray(list) ? (list as unknown[]) : [],
  )) {
    const parameter = followed(document, given);
    if (!parameter || typeof parameter.name !== "string") {
      return { problem: "one of its parameters is not in the document, and nothing else is fetched" };
    }
    // The operation's own come last and win.
    found.set(`${String(parameter.in)} ${parameter.name}`, parameter);
  }
  const inPath = pathArguments(path);
  const result: OperationParameters = { places: [], properties: {}, required: [] };
  for (const parameter of found.values()) {
    const name = parameter.name as string;
    const place = parameter.in;
    if (place === "cookie") {
      if (parameter.required === true) return { problem: `it needs a cookie, "${name}", which is not supported` };
      continue;
    }
    if (place !== "path" && place !== "query" && place !== "header") return { problem: `"${name}" has no known place` };
    if (place === "header" && (OWN_HEADERS.test(name) || !HEADER_NAME.test(name))) continue;
    if (place !== "path" && isSet(place, name)) continue;
    if (place === "path" && !inPath.includes(name)) continue;
    const style = styleOf(parameter, place);
    if (style === null)
      return { problem: `"${name}" is written in a way that is not supported (${String(parameter.style)})` };
    const argument = argumentName(name, place, result.properties);
    if (argument === null) return { problem: `"${name}" is there twice` };
    result.places.push({ argument, name, in: place, style });
    result.properties[argument] = schemaOf(parameter);
    if (parameter.required === true || place === "path") result.required.push(argument);
  }
  const missing = inPath.find((name) => !result.places.some((place) => place.in === "path" && place.name === name));
  if (missing !== undefined) return { problem: `its path needs "${missing}", which is not among its parameters` };
  return result;
}

function styleOf(parameter: Record<string, unknown>, place: ParameterPlace["in"]): ParameterPlace["style"] | null {
  if (isRecord(parameter.content)) return "json";
  const { style } = parameter;
  if (place !== "query") return style === undefined || style === "simple" ? "comma" : null;
  switch (style) {
    case undefined:
    case "form":
      return parameter.explode === false ? "comma" : "repeat";
    case "spaceDelimited":
      return parameter.explode === true ? "repeat" : "space";
    case "pipeDelimited":
      return parameter.explode === true ? "repeat" : "pipe";
    case "deepObject":
      return "deep";
    default:
      return null;
  }
}

/** One that every provider accepts: `filter[status]` is `filter_status`. */
function argumentName(name: string, place: string, taken: Record<string, unknown>): string | null {
  const plain = (text: string) =>
    text
      .replace(/[^a-zA-Z0-9_.-]+/g, "_")
      .replace(/^_+|_+$/g, "")
      .slice(0, 64);
  const candidates = [plain(name), plain(`${place}_${name}`)].filter((candidate) => candidate !== "");
  return candidates.find((candidate) => !Object.hasOwn(taken, candidate)) ?? null;
}

function schemaOf(parameter: Record<string, unknown>): JsonSchema {
  const content = isRecord(parameter.content) ? Object.values(parameter.content)[0] : undefined;
  const schema = isRecord(content) ? content.schema : parameter.schema;
  const { description } = parameter;
  return {
    ...(isRecord(schema) ? schema : {}),
    ...(typeof description === "string" && description.trim() !== "" ? { description } : {}),
  };
}
