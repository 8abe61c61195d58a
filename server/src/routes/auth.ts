import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Services } from "@agent-engine/core/context.ts";
import type { Authentication } from "@agent-engine/core/members/authentication.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import { createWrongPasswords } from "../limits/wrong-passwords.ts";
import { readText } from "../http/body.ts";
import { clientAddress } from "../http/client-address.ts";
import type { AppEnv } from "../http/request.ts";
import type { TrustedOrigins } from "../http/trusted-origins.ts";

export interface AuthRouteOptions {
  services: Services;
  /** Asked with the first request: a server on any free port knows its address late. */
  apiUrl: () => string;
  trustedOrigins: TrustedOrigins;
  trustedProxyHops: number;
}

const PATTERN = "/api/auth/*";

/**
 * Signing in and out, sessions, passwords and addresses: better-auth's routes, in its own shapes, loaded when the first
 * request for them comes. `docs/members.md` says which there are.
 */
export function authRoutes(app: OpenAPIHono<AppEnv>, options: AuthRouteOptions): void {
  const { services, apiUrl, trustedOrigins, trustedProxyHops } = options;
  let loading: Promise<Authentication> | null = null;

  function authentication(): Promise<Authentication> {
    loading ??= import("@agent-engine/core/members/authentication.ts").then(({ createAuthentication }) =>
      createAuthentication({
        services,
        apiUrl: apiUrl(),
        trustedOrigins: trustedOrigins.list(),
        wrongPasswords: createWrongPasswords(services.accounts),
      }),
    );
    return loading;
  }

  app.on(["GET", "POST"], PATTERN, async (c) => {
    c.set("route", PATTERN);
    const origin = c.req.header("origin");
    // better-auth checks the origin of requests with cookies; a page that is not ours has no business here without.
    if (origin !== undefined && !trustedOrigins.has(origin)) {
      throw new ProblemError(
        "origin_not_allowed",
        `${origin.slice(0, 200)} may not sign anybody in: only the console and the API itself (CONSOLE_URL, PUBLIC_URL).`,
      );
    }
    const { handle } = await authentication();
    return handle({
      method: c.req.method,
      url: c.req.url,
      headers: c.req.raw.headers,
      body: c.req.method === "GET" ? "" : await readText(c.req.raw),
      clientAddress: clientAddress(c, trustedProxyHops),
      correlationId: c.get("correlationId"),
    });
  });
}
