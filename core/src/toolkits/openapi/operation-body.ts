/** Which arguments of a tool make up its request's body. */
import type { JsonSchema } from "../toolkit.ts";
import { propertiesOf, requiredOf } from "../schema/merge-schemas.ts";
import { simplifySchema } from "../schema/repair-schema.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import { followed, type OpenapiOperation } from "./openapi-parts.ts";
import type { OpenapiDocument } from "./read-document.ts";

export interface BodyPlace {
  type: "json" | "form";
  contentType: string;
  /** The one argument that is the body; null: all arguments without another place, as its fields. */
  argument: string | null;
  /** Fields of a form whose lists are written `name[0]`. */
  deep: string[];
}

export interface OperationBody {
  place: BodyPlace | null;
  properties: Record<string, JsonSchema>;
  required: string[];
  notes: string[];
}

const JSON_TYPE = /^(application\/json|application\/[a-z0-9.+-]+\+json)\s*(;.*)?$/i;
const FORM_TYPE = /^application\/x-www-form-urlencoded\s*(;.*)?$/i;
const NONE: OperationBody = { place: null, properties: {}, required: [], notes: [] };

/** `taken`: names that arguments have already. */
export function operationBody(
  document: OpenapiDocument,
  { operation, method }: OpenapiOperation,
  taken: Readonly<Record<string, unknown>>,
): OperationBody | { problem: string } {
  // Bodies of these are left out by many a proxy, and some clients cannot send them.
  if (operation.requestBody === undefined || method === "GET" || method === "HEAD") return NONE;
  const body = followed(document, operation.requestBody);
  if (!body) return { problem: "its body is not in the document, and nothing else is fetched" };
  const isRequired = body.required === true;
  const content = isRecord(body.content) ? Object.entries(body.content) : [];
  const [contentType, media] =
    content.find(([type]) => JSON_TYPE.test(type)) ?? content.find(([type]) => FORM_TYPE.test(type)) ?? [];
  if (contentType === undefined || !isRecord(media)) {
    if (content.length === 0) return NONE;
    const types = content
      .map(([type]) => type)
      .join(", ")
      .slice(0, 100);
    if (isRequired) return { problem: `its body must be ${types}; only JSON and simple forms are supported` };
    return { ...NONE, notes: [`its optional body (${types}) was left out.`] };
  }
  const type = JSON_TYPE.test(contentType) ? "json" : "form";
  const place: BodyPlace = {
    type,
    contentType: contentType.replace(/;.*$/, "").trim(),
    argument: null,
    deep: deepFields(media),
  };
  const fields = simplifySchema(media.schema ?? {}, document.root);
  if ("schema" in fields && canBeSpread(fields.schema, taken)) {
    const { schema, notes } = fields;
    return { place, properties: propertiesOf(schema), required: isRequired ? requiredOf(schema) : [], notes };
  }
  const argument = Object.hasOwn(taken, "body") ? "request_body" : "body";
  if (Object.hasOwn(taken, argument)) return { problem: "its body has the name of a parameter" };
  const schema = isRecord(media.schema) ? media.schema : {};
  const { description } = body;
  const described = typeof description === "string" && description !== "" ? { ...schema, description } : schema;
  return {
    place: { ...place, argument },
    properties: { [argument]: described },
    required: isRequired ? [argument] : [],
    notes: [],
  };
}

/** Its fields can stand beside the other arguments. */
function canBeSpread(schema: JsonSchema, taken: Readonly<Record<string, unknown>>): boolean {
  const names = Object.keys(propertiesOf(schema));
  return (
    names.length > 0 && !isRecord(schema.additionalProperties) && names.every((name) => !Object.hasOwn(taken, name))
  );
}

function deepFields({ encoding }: Record<string, unknown>): string[] {
  if (!isRecord(encoding)) return [];
  return Object.entries(encoding).flatMap(([name, how]) => (isRecord(how) && how.style === "deepObject" ? [name] : []));
}
