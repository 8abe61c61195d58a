/** The routes of the fake Composio. */
import { accountRoutes } from "./account-routes.ts";
import { fileRoutes } from "./file-routes.ts";
import type { Route } from "./route.ts";
import { toolRoutes } from "./tool-routes.ts";
import { webhookRoutes } from "./webhook-routes.ts";

const PREFIX = "/api/v3.1";

const table = [...toolRoutes, ...accountRoutes, ...webhookRoutes, ...fileRoutes].map((route) => ({
  route,
  pattern: new RegExp(`^${route.isOpen ? "" : PREFIX}${route.path.replaceAll("*", "([^/]+)")}$`),
}));

export function findRoute(method: string, path: string): { route: Route; params: string[] } | null {
  for (const { route, pattern } of table) {
    const match = route.method === method ? pattern.exec(path) : null;
    if (match) return { route, params: match.slice(1).map(decodeURIComponent) };
  }
  return null;
}
