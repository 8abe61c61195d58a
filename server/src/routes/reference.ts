import { fileURLToPath } from "node:url";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { createPrecompressedFiles } from "../http/precompressed.ts";
import type { AppEnv } from "../http/request.ts";
import { openApiDocument } from "../openapi/document.ts";

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <title>Agent Engine API</title>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
  </head>
  <body>
    <div id="reference"></div>
    <script src="/docs/scalar.js"></script>
    <script src="/docs/start.js"></script>
  </body>
</html>
`;

const START = `Scalar.createApiReference("#reference", {
  url: "/openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  agent: { disabled: true },
});
`;

const SHORT = "public, max-age=300";

/** `/openapi.json`, and `/docs`: the reference made from it. */
export function referenceRoutes(
  app: OpenAPIHono<AppEnv>,
  facts: { publicUrl: string | null; isSecure: boolean },
): void {
  const files = createPrecompressedFiles();
  const scalar = fileURLToPath(import.meta.resolve("@scalar/api-reference/browser/standalone.js"));
  let document: string | null = null;

  app.get("/openapi.json", (c) => {
    document ??= JSON.stringify(openApiDocument(app, facts));
    c.set("route", "/openapi.json");
    return c.body(document, 200, {
      "content-type": "application/json; charset=utf-8",
      "cache-control": SHORT,
      "access-control-allow-origin": "*",
    });
  });

  app.get("/docs", (c) => {
    c.set("route", "/docs");
    return c.html(PAGE, 200, { "cache-control": SHORT });
  });

  app.get("/docs/start.js", (c) => {
    c.set("route", "/docs/start.js");
    return c.body(START, 200, { "content-type": "text/javascript; charset=utf-8", "cache-control": SHORT });
  });

  app.get("/docs/scalar.js", async (c) => {
    c.set("route", "/docs/scalar.js");
    const headers = { "content-type": "text/javascript; charset=utf-8", "cache-control": SHORT };
    // Never brotli: at this size it takes seconds, for a page that developers open now and then.
    const accepted = c.req.header("accept-encoding")?.includes("gzip") ? "gzip" : undefined;
    const found = await files.respond(scalar, accepted, headers);
    if (!found) throw new ProblemError("not_found", "The API reference is not installed. Run `npm ci`.");
    return found;
  });
}
