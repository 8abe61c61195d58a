/** What browsers are told about an answer, by its kind: one table for everything this server sends. */
import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./request.ts";

export type AnswerKind =
  /** Data of somebody: every API route, every error. */
  | "data"
  /** The API reference: its page, and its scripts. */
  | "page"
  | "page file"
  /** Where somebody comes back to who connected an account. */
  | "return page"
  /** The OpenAPI document, which anybody's tools may read. */
  | "document"
  /** The widget's files, which every customer's page loads. */
  | "widget";

/** Nothing may be loaded by, or framed with, what is no page: when it is opened as one it is inert. */
const INERT = "default-src 'none'; frame-ancestors 'none'";

/** Everything from this server: the reference works offline and tells nobody who reads it. */
const REFERENCE = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

const ALWAYS = { "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" };

/** A year. Other names of the same domain are not ours to speak for. */
const HSTS = "max-age=31536000";

/** `cross-origin-resource-policy` concerns what pages load without asking; who asks (CORS) is answered as before. */
export const SECURITY_HEADERS: Readonly<Record<AnswerKind, Readonly<Record<string, string>>>> = {
  data: { ...ALWAYS, "content-security-policy": INERT, "cross-origin-resource-policy": "same-origin" },
  page: {
    ...ALWAYS,
    "content-security-policy": REFERENCE,
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
  },
  "return page": {
    ...ALWAYS,
    "content-security-policy":
      "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
  },
  "page file": { ...ALWAYS, "content-security-policy": INERT, "cross-origin-resource-policy": "same-origin" },
  document: { ...ALWAYS, "content-security-policy": INERT, "cross-origin-resource-policy": "cross-origin" },
  widget: { ...ALWAYS, "content-security-policy": INERT, "cross-origin-resource-policy": "cross-origin" },
};

/** By path: what is not known is data. */
export function answerKind(path: string, status: number): AnswerKind {
  if (path === "/v1/connections/callback" || path === "/v1/connections/start") return "return page";
  if (status >= 400) return "data";
  if (path === "/docs") return "page";
  if (path.startsWith("/docs/")) return "page file";
  if (path === "/openapi.json") return "document";
  return path === "/widget.js" || path.startsWith("/widget/") ? "widget" : "data";
}

/** Sets them, and `no-store` where a route says nothing of caching. `isSecure`: this server is reached over https. */
export function securityHeaders(isSecure: boolean): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    await next();
    const { headers, status } = c.res;
    for (const [name, value] of Object.entries(SECURITY_HEADERS[answerKind(c.req.path, status)]))
      headers.set(name, value);
    if (isSecure) headers.set("strict-transport-security", HSTS);
    if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
  };
}
