/** The request of one call. Only ever below the base address. */
import { pathValue, textOf, type HttpRequest } from "../http/http-request.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import type { BodyPlace } from "./operation-body.ts";
import type { ParameterPlace } from "./operation-parameters.ts";
import type { OperationCall } from "./operation-tool.ts";

/** An argument that cannot be sent where it belongs. */
export class BadArgument extends Error {}

/** @throws BadArgument, BadPathArgument */
export function operationRequest(call: OperationCall, baseUrl: string, args: Record<string, unknown>): HttpRequest {
  const byName = new Map(
    call.parameters.flatMap((place) => (place.in === "path" ? [[place.name, place] as const] : [])),
  );
  const path = call.path.replace(/\{([^{}]+)\}/g, (_, name: string) => {
    const place = byName.get(name);
    const value = place ? args[place.argument] : undefined;
    if (!Array.isArray(value)) return pathValue(name, value);
    return value.map((entry) => pathValue(name, entry)).join(",");
  });
  const base = new URL(baseUrl);
  const url = new URL(baseUrl.replace(/\/+$/, "") + path);
  // Whatever a document says of its paths, credentials go nowhere else.
  if (url.origin !== base.origin || !url.pathname.startsWith(base.pathname.replace(/\/+$/, ""))) {
    throw new BadArgument("The address of this call would lead out of the service.");
  }
  const headers: Record<string, string> = { accept: "application/json, text/plain;q=0.9, */*;q=0.1" };
  for (const place of call.parameters) {
    const value = args[place.argument];
    if (value === undefined || value === null) continue;
    if (place.in === "query") addQuery(url.searchParams, place, value);
    if (place.in === "header") headers[place.name.toLowerCase()] = headerText(place, value);
  }
  const body = call.body ? bodyText(call.body, call, args) : null;
  if (call.body && body !== null) headers["content-type"] = call.body.contentType;
  return { url, method: call.method, headers, body };
}

const SEPARATORS = { comma: ",", space: " ", pipe: "|" } as const;

function addQuery(query: URLSearchParams, { name, style }: ParameterPlace, value: unknown): void {
  if (style === "json") return query.append(name, JSON.stringify(value));
  if (style === "deep") return addDeep(query, name, value);
  if (style === "repeat") {
    if (isRecord(value)) for (const [key, entry] of Object.entries(value)) query.append(key, textOf(entry));
    else for (const entry of [value].flat()) query.append(name, textOf(entry));
    return;
  }
  query.append(name, joined(value, SEPARATORS[style]));
}

function addDeep(query: URLSearchParams, name: string, value: unknown): void {
  if (value === undefined) return;
  if (Array.isArray(value)) for (const [index, entry] of value.entries()) addDeep(query, `${name}[${index}]`, entry);
  else if (isRecord(value)) for (const [key, entry] of Object.entries(value)) addDeep(query, `${name}[${key}]`, entry);
  else query.append(name, textOf(value));
}

function joined(value: unknown, separator: string): string {
  if (Array.isArray(value)) return value.map(textOf).join(separator);
  if (isRecord(value))
    return Object.entries(value)
      .flatMap(([key, entry]) => [key, textOf(entry)])
      .join(separator);
  return textOf(value);
}

function headerText({ argument, style }: ParameterPlace, value: unknown): string {
  const text = style === "json" ? JSON.stringify(value) : joined(value, ",");
  if (/^[\t\x20-\x7e\x80-\xff]{0,8000}$/.test(text)) return text;
  throw new BadArgument(`"${argument}" goes into a header: it must be one line of plain text.`);
}

function bodyText(body: BodyPlace, call: OperationCall, args: Record<string, unknown>): string | null {
  const elsewhere = new Set(call.parameters.map(({ argument }) => argument));
  const fields = Object.fromEntries(Object.entries(args).filter(([name]) => !elsewhere.has(name)));
  const value = body.argument === null ? fields : args[body.argument];
  if (value === undefined || (body.argument === null && Object.keys(fields).length === 0 && body.type === "form")) {
    return null;
  }
  if (body.type === "json") return JSON.stringify(value);
  if (!isRecord(value)) throw new BadArgument("The body is a form: it must be an object.");
  const form = new URLSearchParams();
  for (const [name, entry] of Object.entries(value)) {
    if (entry === undefined || entry === null) continue;
    if (isRecord(entry) || body.deep.includes(name)) addDeep(form, name, entry);
    else for (const one of [entry].flat()) form.append(name, textOf(one));
  }
  return form.toString();
}
