/** Makes a tool of an operation: what a model is told, and where its arguments go. */
import { operationEffect } from "../http/http-settings.ts";
import type { DiscoveredTool } from "../toolkit-kind.ts";
import { repairSchema, simplifySchema } from "../schema/repair-schema.ts";
import { operationBody, type BodyPlace } from "./operation-body.ts";
import { operationParameters, type ParameterPlace } from "./operation-parameters.ts";
import { isElsewhere, type OpenapiOperation } from "./openapi-parts.ts";
import type { OpenapiAuth } from "./openapi-settings.ts";
import type { OpenapiDocument } from "./read-document.ts";

/** What is kept with the tool, so that it can be called without its document. */
export interface OperationCall {
  method: OpenapiOperation["method"];
  path: string;
  parameters: ParameterPlace[];
  body: BodyPlace | null;
  /** The document's server; null when the settings name another. */
  baseUrl: string | null;
}

export interface OpenapiTool extends DiscoveredTool {
  call: OperationCall;
}

export interface OperationOptions {
  /** The tool's name. */
  name: string;
  baseUrl: string | null;
  auth: OpenapiAuth;
  idempotencyHeader: string;
  /** Only to look at: the parameters are not compiled. */
  isPreview?: boolean;
}

const MAX_DESCRIPTION = 1_000;

export function operationTool(
  document: OpenapiDocument,
  operation: OpenapiOperation,
  { name, baseUrl, auth, idempotencyHeader, isPreview = false }: OperationOptions,
): { tool: OpenapiTool; notes: string[] } | { problem: string } {
  const { method, path, key } = operation;
  const badPath = problemOfPath(path);
  if (badPath !== null) return { problem: badPath };
  if (isElsewhere(document, operation)) return { problem: "it is at a server of its own; install that one by itself" };
  const isSet = (place: "query" | "header", field: string) => {
    const same = (other: string) => field.toLowerCase() === other.toLowerCase();
    if (place === "header" && (same(idempotencyHeader) || same("idempotency-key"))) return true;
    return auth.type === "apiKey" && auth.in === place && same(auth.name);
  };
  const parameters = operationParameters(document, operation, isSet);
  if ("problem" in parameters) return parameters;
  const body = operationBody(document, operation, parameters.properties);
  if ("problem" in body) return body;
  const repaired = (isPreview ? simplifySchema : repairSchema)(
    {
      type: "object",
      properties: { ...parameters.properties, ...body.properties },
      required: [...parameters.required, ...body.required],
      additionalProperties: false,
    },
    document.root,
  );
  if ("problem" in repaired) return { problem: repaired.problem.replace(/\.$/, "") };
  const known = Object.keys(repaired.schema.properties as object);
  const tool: OpenapiTool = {
    name,
    remote: key,
    description: descriptionOf(operation),
    parameters: repaired.schema,
    effect: operationEffect({ method }),
    scopes: [],
    connection: "none",
    visibility: { arguments: false, results: false },
    call: {
      method,
      path,
      parameters: parameters.places.filter(({ argument }) => known.includes(argument)),
      body: body.place,
      baseUrl,
    },
  };
  return { tool, notes: [...new Set([...body.notes, ...repaired.notes])] };
}

/** What would lead out of the base address, or could not be told from a query. */
function problemOfPath(path: string): string | null {
  if (path.length > 1_000) return "its path is too long";
  if (/[?#\\\s]/.test(path)) return "its path holds more than a path";
  const segments = path.split("/").map((segment) => segment.replace(/%2e/gi, "."));
  if (segments.some((segment) => segment === "." || segment === "..")) return "its path leads out of the service";
  return /%(2f|5c|00)/i.test(path) ? "its path holds encoded slashes" : null;
}

function descriptionOf({ key, operation }: OpenapiOperation): string {
  const texts = [operation.summary, operation.description].flatMap((text) =>
    typeof text === "string" && text.trim() !== "" ? [text.trim()] : [],
  );
  const [first, second] = texts;
  const text =
    second === undefined || second.startsWith(first ?? "") ? (second ?? first ?? key) : `${first}\n${second}`;
  const deprecated = operation.deprecated === true ? "(Deprecated.) " : "";
  return (deprecated + text).slice(0, MAX_DESCRIPTION).toWellFormed();
}
