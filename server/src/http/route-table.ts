import type { Permission } from "@agent-engine/core/members/permissions.ts";

export interface TableRoute {
  method: string;
  /** `/v1/runs/{runId}` */
  path: string;
  /** What a member's role or a key's scopes must have; null where the route asks for something else. */
  scope: Permission | null;
  /** Visitors call it, so browsers do, from the customers' origins. */
  visitor: boolean;
  /** It checks the page's origin itself and says what is wrong with it, so pages of any origin may read its answers. */
  checksOrigin: boolean;
}

export interface RouteTable {
  add(route: TableRoute): void;
  /** The declared routes of this path, whatever their method. */
  match(path: string): TableRoute[];
  readonly routes: readonly TableRoute[];
}

/** What routes there are: for 405 with `Allow`, for CORS, and for tests that visit every route. */
export function createRouteTable(): RouteTable {
  const routes: (TableRoute & { pattern: RegExp })[] = [];
  return {
    routes,
    add(route) {
      const pattern = new RegExp(`^${route.path.replaceAll(".", "\\.").replaceAll(/\{\w+\}/g, "[^/]+")}$`);
      routes.push({ ...route, method: route.method.toUpperCase(), pattern });
    },
    match: (path) => routes.filter(({ pattern }) => pattern.test(path)),
  };
}
