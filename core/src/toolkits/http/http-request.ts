import { pathArguments, type HttpOperation, type HttpSettings } from "./http-settings.ts";

export interface HttpRequest {
  url: URL;
  method: HttpOperation["method"];
  headers: Record<string, string>;
  body: string | null;
}

/** An argument that would lead the request out of the operation's path. */
export class BadPathArgument extends Error {
  constructor(name: string) {
    super(`"${name}" cannot be used in the address: it must not be empty, "." or "..".`);
    this.name = "BadPathArgument";
  }
}

/** @throws BadPathArgument */
export function httpRequest(
  settings: HttpSettings,
  operation: HttpOperation,
  args: Record<string, unknown>,
  idempotencyKey: string | null,
): HttpRequest {
  const inPath = new Set(pathArguments(operation.path));
  const path = operation.path.replace(/\{([^{}]+)\}/g, (_, name: string) => pathValue(name, args[name]));
  const url = new URL(settings.baseUrl.replace(/\/+$/, "") + path);
  const rest = Object.entries(args).filter(([name]) => !inPath.has(name));
  const hasBody = operation.method === "POST" || operation.method === "PUT" || operation.method === "PATCH";
  if (!hasBody) for (const [name, value] of rest) addQuery(url, name, value);
  return {
    url,
    method: operation.method,
    headers: {
      accept: "application/json, text/plain;q=0.9, */*;q=0.1",
      ...(hasBody ? { "content-type": "application/json" } : {}),
      ...settings.headers,
      ...(idempotencyKey === null ? {} : { [settings.idempotencyHeader]: idempotencyKey }),
    },
    body: hasBody ? JSON.stringify(Object.fromEntries(rest)) : null,
  };
}

/** Encoded dots are dots to a URL parser, so they are refused rather than encoded. */
export function pathValue(name: string, value: unknown): string {
  const text = textOf(value);
  if (text === "" || text === "." || text === "..") throw new BadPathArgument(name);
  return encodeURIComponent(text.toWellFormed());
}

function addQuery(url: URL, name: string, value: unknown): void {
  if (value === undefined || value === null) return;
  for (const entry of Array.isArray(value) ? value : [value]) url.searchParams.append(name, textOf(entry));
}

/** As addresses, headers and forms hold it. */
export function textOf(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value);
}
