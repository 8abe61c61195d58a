import type { MiddlewareHandler } from "hono";
import type { Logger } from "pino";
import { correlationIdOf, type AppEnv } from "./request.ts";
import type { RouteTable } from "./route-table.ts";

/** Probed every few seconds by balancers: worth a line only when they fail. */
const QUIET = new Set(["/healthz", "/readyz"]);

/**
 * Gives each request its correlation id and writes one line about it. Patterns rather than paths, kinds rather than
 * credentials: no token, body or query ever reaches the log.
 */
export function requestLog(log: Logger, table: RouteTable): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const startedAt = performance.now();
    const requestId = correlationIdOf(c.req.header("x-request-id"));
    c.set("correlationId", requestId);
    await next();
    c.res.headers.set("x-request-id", requestId);
    const { status } = c.res;
    const principal = c.get("principal");
    const line = {
      correlationId: requestId,
      method: c.req.method,
      route: table.match(c.req.path)[0]?.path ?? c.get("route") ?? "unknown",
      status,
      durationMs: Math.round((performance.now() - startedAt) * 10) / 10,
      tenantId: principal?.tenantId,
      actor: principal?.actor.kind,
    };
    // 503 says that something else is away, which has a line of its own.
    if (status >= 500 && status !== 503) log.error(line, "request failed");
    else if (QUIET.has(c.req.path)) log.debug(line, "request");
    else log.info(line, "request");
  };
}
