import type { OpenAPIHono } from "@hono/zod-openapi";
import { getCookie, setCookie } from "hono/cookie";
import type { Services } from "@agent-engine/core/context.ts";
import { completeLink, startLink } from "@agent-engine/core/connections/complete-connection.ts";
import { linkConnection } from "@agent-engine/core/connections/link-connection.ts";
import {
  deleteConnection,
  getConnection,
  listConnections,
  updateConnection,
} from "@agent-engine/core/connections/manage-connections.ts";
import type { KindDeps } from "@agent-engine/core/toolkits/toolkit-kind.ts";
import { connectionLinkRequest, connectionUpdateRequest } from "@agent-engine/protocol/schemas/toolkits.ts";
import { z } from "zod";
import type { Api } from "../http/api.ts";
import { pageQuery, pageRequest } from "../http/paging.ts";
import type { AppEnv } from "../http/request.ts";
import { pageSchema } from "../openapi/schemas.ts";
import { connectionLinkSchema, connectionSchema } from "../openapi/toolkit-schemas.ts";
import { returnPage } from "./return-page.ts";

const tag = "Connections";
const read = { scope: "connections:read", visitor: true } as const;
const readStaff = { scope: "connections:read", visitor: false } as const;
const write = { scope: "connections:write", visitor: true } as const;
const writeStaff = { scope: "connections:write", visitor: false } as const;

const connectionsQuery = pageQuery.extend({
  toolkitId: z.string().max(100).optional(),
  visitorId: z.string().max(100).optional(),
});

export function connectionRoutes(api: Api, kinds: KindDeps, apiUrl: () => string): void {
  api.route(
    {
      method: "get",
      path: "/v1/connections",
      tag,
      summary: "List connected accounts, newest first",
      description: "A visitor sees their own.",
      access: read,
      query: connectionsQuery,
      status: 200,
      answer: pageSchema(connectionSchema),
    },
    ({ ctx, query }) => listConnections(ctx, query, pageRequest(query)),
  );

  api.route(
    {
      method: "post",
      path: "/v1/connections/link",
      tag,
      summary: "Begin to connect an account",
      description:
        "Answers where the person must go; the link is good once, for some minutes, and another one can be asked for. Staff name a `toolkitId`, for the tenant's own account; a visitor names the run and the interrupt that wait for theirs.",
      access: write,
      body: connectionLinkRequest,
      transaction: "none",
      status: 201,
      answer: connectionLinkSchema,
      isSecret: true,
    },
    ({ ctx, body }) => linkConnection(ctx, kinds, body, apiUrl()),
  );

  api.route(
    {
      method: "get",
      path: "/v1/connections/{connectionId}",
      tag,
      summary: "Read a connected account",
      access: readStaff,
      status: 200,
      answer: connectionSchema,
    },
    ({ ctx, params }) => getConnection(ctx, params.connectionId),
  );

  api.route(
    {
      method: "patch",
      path: "/v1/connections/{connectionId}",
      tag,
      summary: "Rename a connected account, or make it the default one",
      access: writeStaff,
      body: connectionUpdateRequest,
      status: 200,
      answer: connectionSchema,
    },
    ({ ctx, params, body }) => updateConnection(ctx, params.connectionId, body),
  );

  api.route(
    {
      method: "delete",
      path: "/v1/connections/{connectionId}",
      tag,
      summary: "Disconnect an account, at the other side too",
      access: write,
      status: 204,
    },
    ({ ctx, params }) => deleteConnection(ctx, kinds, params.connectionId),
  );
}

/** Where the other side sends people back to, and its cookie's path. */
const CALLBACK = "/v1/connections/callback";
const COOKIE = "agent_engine_link";
const COOKIE_SECONDS = 900;

/** The pages that a person's browser passes on its way to the other side and back. They take no credential. */
export function connectionPages(
  app: OpenAPIHono<AppEnv>,
  services: Services,
  kinds: KindDeps,
  apiUrl: () => string,
): void {
  app.get("/v1/connections/start", async (c) => {
    c.set("route", "/v1/connections/start");
    const started = await startLink(services, c.req.query("state") ?? "");
    if (!started) return returnPage({ kind: "unknown" });
    setCookie(c, COOKIE, started.browser, {
      httpOnly: true,
      secure: apiUrl().startsWith("https:"),
      // The other side sends the browser back by a link.
      sameSite: "Lax",
      path: CALLBACK,
      maxAge: COOKIE_SECONDS,
    });
    return c.redirect(started.url, 302);
  });

  app.get(CALLBACK, async (c) => {
    c.set("route", CALLBACK);
    const { state = "", ...query } = c.req.query();
    const callbackUrl = `${apiUrl()}${CALLBACK}`;
    const browser = getCookie(c, COOKIE) ?? null;
    return returnPage(await completeLink(services, kinds, { state, browser, query, callbackUrl }));
  });
}
