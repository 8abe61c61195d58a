import { extname, join } from "node:path";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { createPrecompressedFiles } from "../http/precompressed.ts";
import type { AppContext, AppEnv } from "../http/request.ts";

const TYPES: Record<string, string> = {
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json; charset=utf-8",
  ".map": "application/json; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
  ".html": "text/html; charset=utf-8",
};

/** A content hash in the name: the file under that name never changes. */
const HASHED = /[-.][A-Za-z0-9_-]{8}\.\w+$/;
const IMMUTABLE = "public, max-age=31536000, immutable";
/** The script tag's file keeps its name across releases. */
const SHORT = "public, max-age=300, stale-while-revalidate=86400";

/** Only names the build can have made: no dot files, no way up. */
const SAFE_PATH = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/;

/** The built widget: `/widget.js`, the customers' script tag, and `/widget/*`, the chunks it loads. For every origin. */
export function widgetRoutes(app: OpenAPIHono<AppEnv>, directory: string): void {
  const files = createPrecompressedFiles();

  async function serve(c: AppContext, name: string): Promise<Response> {
    const type = TYPES[extname(name)];
    const found =
      type !== undefined && SAFE_PATH.test(name)
        ? await files.respond(join(directory, name), c.req.header("accept-encoding"), {
            "content-type": type,
            "cache-control": HASHED.test(name) ? IMMUTABLE : SHORT,
            "access-control-allow-origin": "*",
            "cross-origin-resource-policy": "cross-origin",
            "timing-allow-origin": "*",
          })
        : null;
    if (!found) {
      throw new ProblemError(
        "not_found",
        "There is no such widget file. When serving from a checkout, build the widget first.",
      );
    }
    const etag = found.headers.get("etag");
    if (etag !== null && c.req.header("if-none-match") === etag)
      return new Response(null, { status: 304, headers: found.headers });
    return found;
  }

  app.get("/widget.js", (c) => {
    c.set("route", "/widget.js");
    return serve(c, "widget.js");
  });
  app.get("/widget/*", (c) => {
    c.set("route", "/widget/*");
    return serve(c, c.req.path.slice("/widget/".length));
  });
}
