import type { MiddlewareHandler } from "hono";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { IsKnownOrigin } from "./known-origins.ts";
import type { AppEnv } from "./request.ts";
import type { RouteTable } from "./route-table.ts";

const REQUEST_HEADERS = "authorization, content-type, idempotency-key, last-event-id, x-request-id";
const EXPOSED_HEADERS =
  "idempotency-replayed, ratelimit, ratelimit-limit, ratelimit-policy, ratelimit-remaining, ratelimit-reset, retry-after, x-request-id";
const PREFLIGHT_SECONDS = "600";

/**
 * CORS of the routes that visitors call: origins that some site embeds from may read the answers, never with
 * credentials (cookies). Routes for secret keys have none: a secret key has no business in a page. A route that checks
 * the origin itself may be read from anywhere: else a page that no site allows would learn nothing but "Failed to fetch".
 */
export function cors(table: RouteTable, isKnownOrigin: IsKnownOrigin): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const routes = table.match(c.req.path).filter(({ visitor }) => visitor);
    if (routes.length === 0) return next();
    const origin = c.req.header("origin");
    const isAllowed =
      origin !== undefined && (routes.every(({ checksOrigin }) => checksOrigin) || (await isKnownOrigin(origin)));
    if (c.req.method === "OPTIONS" && origin !== undefined && c.req.header("access-control-request-method")) {
      if (!isAllowed) {
        throw new ProblemError(
          "origin_not_allowed",
          "No site allows this origin. Add it to the site's allowed origins.",
        );
      }
      const methods = routes.map(({ method }) => method).join(", ");
      return new Response(null, {
        status: 204,
        headers: {
          "access-control-allow-origin": origin,
          "access-control-allow-methods": methods,
          "access-control-allow-headers": REQUEST_HEADERS,
          "access-control-max-age": PREFLIGHT_SECONDS,
          vary: "Origin",
        },
      });
    }
    await next();
    c.res.headers.append("vary", "Origin");
    if (isAllowed) {
      c.res.headers.set("access-control-allow-origin", origin);
      c.res.headers.set("access-control-expose-headers", EXPOSED_HEADERS);
    }
  };
}
