import { OpenAPIHono } from "@hono/zod-openapi";
import { markAccountExpired } from "@agent-engine/core/connections/use-connection.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { JwksReader } from "@agent-engine/core/visitors/jwks.ts";
import type { Revocations } from "@agent-engine/core/visitors/revocations.ts";
import { createApi } from "./http/api.ts";
import { cors } from "./http/cors.ts";
import type { IsKnownOrigin } from "./http/known-origins.ts";
import { problemResponse, toProblemError } from "./http/problem.ts";
import { requestLog } from "./http/request-log.ts";
import type { AppContext, AppEnv } from "./http/request.ts";
import { createRouteTable, type RouteTable } from "./http/route-table.ts";
import { securityHeaders } from "./http/security-headers.ts";
import type { LimitedConnections } from "./limits/connections.ts";
import { rateLimitHeaders, type RateLimiter } from "./limits/rate-limiter.ts";
import type { TrustedOrigins } from "./http/trusted-origins.ts";
import type { EventSource } from "./realtime/event-stream.ts";
import { agentMcpRoutes } from "./routes/agent-mcp.ts";
import { agentRoutes } from "./routes/agents.ts";
import { apiKeyRoutes } from "./routes/api-keys.ts";
import { authRoutes } from "./routes/auth.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { budgetRoutes } from "./routes/budgets.ts";
import { usageRoutes } from "./routes/usage.ts";
import { auditLogRoutes } from "./routes/audit-log.ts";
import { conversationEventRoutes } from "./routes/conversation-events.ts";
import { clientToolRoutes } from "./routes/client-tools.ts";
import { conversationRoutes } from "./routes/conversations.ts";
import { documentRoutes } from "./routes/documents.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { connectionPages, connectionRoutes } from "./routes/connections.ts";
import { toolkitCatalogueRoutes } from "./routes/toolkit-catalogue.ts";
import { composioWebhookRoutes } from "./routes/composio-webhooks.ts";
import { toolkitRoutes } from "./routes/toolkits.ts";
import { healthRoutes, type ReadinessCheck } from "./routes/health.ts";
import { memberRoutes } from "./routes/members.ts";
import { providerKeyRoutes } from "./routes/provider-keys.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { referenceRoutes } from "./routes/reference.ts";
import { runRoutes } from "./routes/runs.ts";
import { siteIdentityRoutes } from "./routes/site-identity.ts";
import { siteRoutes } from "./routes/sites.ts";
import { tenantRoutes } from "./routes/tenant.ts";
import { visitorSessionRoutes } from "./routes/visitor-sessions.ts";
import { visitorRoutes } from "./routes/visitors.ts";
import { widgetRoutes } from "./routes/widget-files.ts";

export interface AppOptions {
  services: Services;
  events: EventSource;
  isKnownOrigin: IsKnownOrigin;
  /** What `/readyz` asks, by name. */
  readiness: Record<string, ReadinessCheck>;
  publicUrl: string | null;
  /** Where this server answers; asked late, as a free port is known late. */
  apiUrl: () => string;
  /** Whose pages may act with a member's cookie. */
  trustedOrigins: TrustedOrigins;
  trustedProxyHops: number;
  revocations: Pick<Revocations, "isRevoked" | "refresh">;
  limiter: RateLimiter;
  connections: Pick<LimitedConnections, "check">;
  /** Customers' public keys, by which visitors are identified. */
  jwks: JwksReader;
  /** What kinds of toolkits work with. */
  kinds: KindDeps;
  /** Verifies what Composio tells; null: it may tell nothing. */
  composioWebhookSecret: string | null;
  /** Where the built widget lies. */
  widgetDirectory: string;
}

export interface App {
  fetch: OpenAPIHono<AppEnv>["fetch"];
  request: OpenAPIHono<AppEnv>["request"];
  /** The declared API routes, for tests that visit each. */
  routes: RouteTable["routes"];
}

/** The HTTP API: everything but sockets. */
export function createApp(options: AppOptions): App {
  const { services } = options;
  const app = new OpenAPIHono<AppEnv>();
  const table = createRouteTable();

  app.onError((error, c) => answerProblem(services, c, error));
  app.notFound((c) => answerProblem(services, c, unmatched(table, c)));
  app.use(requestLog(services.log, table));
  app.use(securityHeaders(services.accounts.isSecure));
  app.use(cors(table, options.isKnownOrigin));
  app.use(async (c, next) => {
    await next();
    const standing = c.get("standing");
    if (standing) for (const [name, value] of rateLimitHeaders(standing)) c.res.headers.set(name, value);
  });

  const { trustedOrigins, trustedProxyHops } = options;
  const api = createApi(app, services, table, options);
  visitorSessionRoutes(api, services, options);
  visitorRoutes(api, options.revocations);
  conversationRoutes(api);
  clientToolRoutes(api);
  conversationEventRoutes(api, options.events);
  runRoutes(api, options.events);
  jobRoutes(api);
  agentRoutes(api);
  agentMcpRoutes(api, options);
  documentRoutes(api);
  toolkitCatalogueRoutes(api, options.kinds);
  toolkitRoutes(api, options.kinds);
  // First: `start` and `callback` are no ids.
  connectionPages(app, services, options.kinds, options.apiUrl);
  connectionRoutes(api, options.kinds, options.apiUrl);
  composioWebhookRoutes(app, {
    services,
    secret: options.composioWebhookSecret,
    effects: { accountExpired: markAccountExpired },
    limiter: options.limiter,
    trustedProxyHops: options.trustedProxyHops,
  });
  memberRoutes(api, services);
  apiKeyRoutes(api);
  siteRoutes(api);
  siteIdentityRoutes(api);
  tenantRoutes(api);
  providerKeyRoutes(api);
  auditLogRoutes(api);
  budgetRoutes(api);
  scheduleRoutes(api);
  usageRoutes(api);
  authRoutes(app, {
    services,
    trustedOrigins,
    apiUrl: options.apiUrl,
    trustedProxyHops,
  });
  healthRoutes(app, options.readiness);
  referenceRoutes(app, { publicUrl: options.publicUrl, isSecure: services.accounts.isSecure });
  widgetRoutes(app, options.widgetDirectory);

  return { fetch: app.fetch, request: app.request, routes: table.routes };
}

function answerProblem(services: Services, c: AppContext, error: unknown): Response {
  const problem = toProblemError(error);
  const correlationId = c.get("correlationId");
  if (problem.code === "internal" || problem.code === "unavailable") {
    services.log.error({ err: error, correlationId }, "request could not be answered");
  }
  const response = problemResponse(problem, correlationId);
  const { allow } = problem.extra;
  if (typeof allow === "string") response.headers.set("allow", allow);
  return response;
}

/** No handler took the request: the path is unknown, or only this method of it. */
function unmatched(table: RouteTable, c: AppContext): ProblemError {
  const methods = [...new Set(table.match(c.req.path).map(({ method }) => method))];
  if (methods.length === 0) {
    return new ProblemError("not_found", "There is no such route. See `/docs` for what there is.");
  }
  const allow = methods.join(", ");
  return new ProblemError("method_not_allowed", `This path takes ${allow}.`, { extra: { allow } });
}
