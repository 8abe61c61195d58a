/** The parts of an OpenAPI 3 document: its operations, its servers. References inside the document are followed. */
import type { HttpMethod } from "../http/http-settings.ts";
import { resolveReference } from "../schema/resolve-reference.ts";
import { isRecord } from "../schema/schema-keywords.ts";
import type { OpenapiDocument } from "./read-document.ts";

type Part = Record<string, unknown>;

const METHODS: readonly HttpMethod[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const MAX_HOPS = 20;

export interface OpenapiOperation {
  method: HttpMethod;
  path: string;
  /** `GET /path`: for people, and what a tool is remembered by. */
  key: string;
  /** As the document names it; null when it does not. */
  id: string | null;
  pathItem: Part;
  operation: Part;
}

/** The part itself, or what it refers to inside the document; null when that is not there or not inside. */
export function followed({ root }: OpenapiDocument, given: unknown): Part | null {
  let part = given;
  for (let hops = 0; hops < MAX_HOPS; hops++) {
    if (!isRecord(part)) return null;
    if (typeof part.$ref !== "string") return part;
    part = resolveReference(root, part.$ref);
  }
  return null;
}

export function operationsOf(document: OpenapiDocument): OpenapiOperation[] {
  const paths = document.root.paths as Part;
  return Object.entries(paths).flatMap(([path, given]) => {
    const pathItem = followed(document, given);
    if (!pathItem || !path.startsWith("/")) return [];
    return METHODS.flatMap((method) => {
      const operation = pathItem[method.toLowerCase()];
      if (!isRecord(operation)) return [];
      const id =
        typeof operation.operationId === "string" && operation.operationId !== "" ? operation.operationId : null;
      return [{ method, path, key: `${method} ${path}`, id, pathItem, operation }];
    });
  });
}

/** Paths that could not be looked into, for the tenant's admins. */
export function unreadablePaths(document: OpenapiDocument): string[] {
  return Object.entries(document.root.paths as Part).flatMap(([path, given]) => {
    if (path.startsWith("x-")) return [];
    if (!path.startsWith("/")) return [`"${path.slice(0, 100)}" was left out: a path must begin with /.`];
    if (followed(document, given)) return [];
    return [
      `${path.slice(0, 100)} was left out: what it refers to is not in the document, and nothing else is fetched.`,
    ];
  });
}

/** The first server's address, without a slash at its end; null when there is none that can be called. */
export function baseUrlOf(document: OpenapiDocument): string | null {
  return serverUrl(document, document.root.servers);
}

/** Whether the operation has a server other than the document's. */
export function isElsewhere(document: OpenapiDocument, { pathItem, operation }: OpenapiOperation): boolean {
  const own = [operation.servers, pathItem.servers].find((servers) => Array.isArray(servers) && servers.length > 0);
  return own !== undefined && serverUrl(document, own) !== baseUrlOf(document);
}

function serverUrl({ url: source }: OpenapiDocument, servers: unknown): string | null {
  const [first] = Array.isArray(servers) && servers.length > 0 ? (servers as unknown[]) : [{ url: "/" }];
  if (!isRecord(first) || typeof first.url !== "string") return null;
  const variables = isRecord(first.variables) ? first.variables : {};
  const text = first.url.replace(/\{([^{}]+)\}/g, (whole, name: string) => {
    const variable = Object.hasOwn(variables, name) ? variables[name] : undefined;
    return isRecord(variable) && ["string", "number"].includes(typeof variable.default)
      ? String(variable.default)
      : whole;
  });
  const url = URL.parse(text, source ?? undefined);
  if (!url || !/^https?:$/.test(url.protocol) || text.includes("{")) return null;
  if (`${url.username}${url.password}${url.search}${url.hash}` !== "") return null;
  return url.href.replace(/\/+$/, "");
}
