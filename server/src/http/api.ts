/**
 * Declares routes: one call says who may call, what comes in and what goes out, for the server and for the OpenAPI
 * document alike. The order is the same for each: credential (401), permission (403), query and body (400, 413), then
 * the verb, once per `Idempotency-Key`.
 */
import type { OpenAPIHono, RouteConfig } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import type { Ctx, Services } from "@agent-engine/core/context.ts";
import type { Session } from "@agent-engine/core/members/resolve-session.ts";
import { PERMISSIONS } from "@agent-engine/core/members/permissions.ts";
import type { RateClass } from "@agent-engine/core/config/rate-limits.ts";
import { cleanText } from "@agent-engine/protocol/clean-text.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import { idempotent } from "@agent-engine/core/idempotency/idempotent.ts";
import { authenticate, authorize, bearerOf, type Access, type Authority } from "./authenticate.ts";
import { authenticateMember, isMembers, sessionOf, signedOut } from "./authenticate-member.ts";
import { clientAddress } from "./client-address.ts";
import { asksForLines, JSON_LINES, lineResponse } from "./json-lines.ts";
import { readJson } from "./body.ts";
import { contextOf, type AppContext, type AppEnv, type Principal } from "./request.ts";
import { closest, RateLimited, type RateLimiter, type Standing } from "../limits/rate-limiter.ts";
import type { LimitedConnections } from "../limits/connections.ts";
import type { RouteTable } from "./route-table.ts";
import type { TrustedOrigins } from "./trusted-origins.ts";
import { validate } from "./validation.ts";
import { problemSchema } from "../openapi/schemas.ts";

type Method = "get" | "post" | "put" | "patch" | "delete";

/** `{runId: string}` for `/v1/runs/{runId}/cancel`. */
export type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? { [Key in Name]: string } & ParamsOf<Rest>
  : unknown;

interface Described {
  method: Method;
  /** `/v1/runs/{runId}` */
  path: string;
  tag: string;
  summary: string;
  description?: string;
  /** Which limits hold; by default `read` for a GET and `write` for anything else. */
  rate?: RateClass;
}

interface Declared<Path extends string, Query> extends Described {
  path: Path;
  access: Access;
  query?: z.ZodType<Query>;
}

/** A route whose credential is in its body. */
export interface PublicSpec<Body, Answer> extends Described {
  body: z.ZodType<Body>;
  status: 201;
  answer: z.ZodType<Answer>;
}

/** A route about a person rather than a tenant. */
export interface AccountSpec<Body, Answer> extends Described {
  method: "get" | "post";
  body?: z.ZodType<Body>;
  status: 200 | 201;
  answer: z.ZodType<Answer>;
}

export interface RouteSpec<Path extends string, Query, Body, Answer> extends Declared<Path, Query> {
  body?: z.ZodType<Body>;
  /** 204 has no answer. */
  status: 200 | 201 | 202 | 204;
  answer?: z.ZodType<Answer>;
  /** Which transaction the verb needs when it is made idempotent. */
  transaction?: "statements" | "entities" | "none";
  /** The answer holds a secret that is shown once. */
  isSecret?: boolean;
  /** For who accepts JSON lines: everything, one document a line. */
  lines?: (call: Call<Path, Query, Body>) => AsyncIterable<unknown>;
}

export interface Call<Path extends string, Query, Body> {
  ctx: Ctx;
  params: ParamsOf<Path>;
  query: Query;
  body: Body;
}

export interface AccountCall<Body> {
  body: Body;
  correlationId: string;
  ip: string | undefined;
}

export interface PublicCall {
  /** Counts the request for its tenant, once that is known; throws `rate_limited`. */
  countFor: (tenantId: TenantId) => Promise<void>;
}

export interface StreamCall<Path extends string, Query, Body = unknown> {
  ctx: Ctx;
  params: ParamsOf<Path>;
  query: Query;
  body: Body;
  principal: Principal;
  c: AppContext;
}

export interface Api {
  route<const Path extends string, Query = unknown, Body = unknown, Answer = unknown>(
    spec: RouteSpec<Path, Query, Body, Answer>,
    verb: (call: Call<Path, Query, Body>) => Promise<Answer>,
  ): void;
  /** A route whose answer goes on: server-sent events, or the media type it names. */
  stream<const Path extends string, Query = unknown, Body = unknown>(
    spec: Declared<Path, Query> & {
      body?: z.ZodType<Body>;
      streamed?: { mediaType: string; description: string };
    },
    open: (call: StreamCall<Path, Query, Body>) => Promise<Response>,
  ): void;
  /** A route for whoever is signed in. */
  account<Body = unknown, Answer = unknown>(
    spec: AccountSpec<Body, Answer>,
    verb: (call: AccountCall<Body> & { session: Session; c: AppContext }) => Promise<Answer>,
  ): void;
  /** A route whose credential is a token in its body; `session` is whoever is signed in besides, if anybody is. */
  token<Body = unknown, Answer = unknown>(
    spec: AccountSpec<Body, Answer>,
    verb: (call: AccountCall<Body> & { session: Session | null }) => Promise<Answer>,
  ): void;
  /** A route that checks its own credential. */
  public<Body, Answer>(
    spec: PublicSpec<Body, Answer>,
    verb: (c: AppContext, body: Body, call: PublicCall) => Promise<{ body: Answer; replayed: boolean }>,
  ): void;
}

export interface ApiOptions {
  trustedOrigins: TrustedOrigins;
  trustedProxyHops: number;
  revocations: Authority["revocations"];
  limiter: RateLimiter;
  connections: Pick<LimitedConnections, "check">;
}

export function createApi(
  app: OpenAPIHono<AppEnv>,
  services: Services,
  table: RouteTable,
  { trustedOrigins, trustedProxyHops, revocations, limiter, connections }: ApiOptions,
): Api {
  /** Keeps what the answer says of the limit that the request is closest to, also where it was refused. */
  async function count(c: AppContext, counting: Promise<Standing | null>): Promise<void> {
    try {
      const standing = await counting;
      const before = c.get("standing");
      if (standing) c.set("standing", before ? closest(before, standing) : standing);
    } catch (error) {
      if (error instanceof RateLimited) c.set("standing", error.standing);
      throw error;
    }
  }

  const countAddress = (c: AppContext, spec: Described) =>
    count(c, limiter.admitAddress(rateOf(spec), clientAddress(c, trustedProxyHops)));

  async function enter(
    c: AppContext,
    spec: Described & { access: Access },
  ): Promise<{ principal: Principal; ctx: Ctx }> {
    await countAddress(c, spec);
    const { access } = spec;
    const principal = isMembers(services, c)
      ? await authenticateMember(services, trustedOrigins, c)
      : await authenticate({ services, revocations }, bearerOf(c.req.header("authorization")), c.req.header("origin"));
    const address = clientAddress(c, trustedProxyHops);
    principal.address = address;
    c.set("principal", principal);
    await count(c, limiter.admitCaller(rateOf(spec), principal, c.req.param("conversationId")));
    authorize(principal, access);
    return { principal, ctx: contextOf(services, principal, c.get("correlationId"), address) };
  }

  function originOf(c: AppContext): { correlationId: string; ip: string | undefined } {
    return { correlationId: c.get("correlationId"), ip: clientAddress(c, trustedProxyHops) ?? undefined };
  }

  function declare(spec: Described & Partial<Declared<string, unknown>>, content: Content): void {
    const { method, path, access } = spec;
    const scope = access?.scope ?? null;
    const isPublic = content.credential === "its own";
    table.add({ method, path, scope, visitor: access?.visitor ?? isPublic, checksOrigin: isPublic });
    app.openAPIRegistry.registerPath(describeRoute(spec, content));
  }

  return {
    route(spec, verb) {
      declare(spec, { body: spec.body, responses: done(spec.status, spec.answer, spec.lines !== undefined) });
      app.on(spec.method, honoPath(spec.path), async (c) => {
        const { ctx } = await enter(c, spec);
        const call = {
          params: c.req.param() as ParamsOf<typeof spec.path>,
          query: (spec.query ? validate(spec.query, readQuery(c), "query") : {}) as never,
          body: (spec.body ? validate(spec.body, await readJson(c.req.raw), "body") : {}) as never,
        };
        if (spec.lines && asksForLines(c.req.header("accept"))) return lineResponse(spec.lines({ ...call, ctx }));
        if (spec.method !== "post") {
          const body = await verb({ ...call, ctx });
          return spec.status === 204 ? c.body(null, 204) : c.json(body, spec.status);
        }
        const answer = await idempotent(
          ctx,
          {
            key: c.req.header("idempotency-key") ?? null,
            // The path, not its pattern: the same key for another conversation is another request.
            route: `POST ${c.req.path}`,
            body: call.body,
            status: spec.status,
            transaction: spec.transaction,
            isSecret: spec.isSecret,
          },
          (inner) => verb({ ...call, ctx: inner }),
        );
        if (answer.replayed) c.header("idempotency-replayed", "true");
        return spec.status === 204 ? c.body(null, 204) : c.json(answer.body, spec.status);
      });
    },
    stream(spec, open) {
      declare(spec, {
        body: spec.body,
        responses: {
          200: {
            description:
              spec.streamed?.description ??
              "Server-sent events: `id` is the seq, `data` an envelope. Reconnect with `Last-Event-ID`.",
            content: { [spec.streamed?.mediaType ?? "text/event-stream"]: { schema: z.string() } },
          },
        },
      });
      app.on(spec.method, honoPath(spec.path), async (c) => {
        const { ctx, principal } = await enter(c, spec);
        connections.check(principal);
        const query = (spec.query ? validate(spec.query, readQuery(c), "query") : {}) as never;
        const body = (spec.body ? validate(spec.body, await readJson(c.req.raw), "body") : {}) as never;
        return open({ ctx, principal, c, query, body, params: c.req.param() as ParamsOf<typeof spec.path> });
      });
    },
    account(spec, verb) {
      declare(spec, { body: spec.body, responses: done(spec.status, spec.answer), credential: "a session" });
      app.on(spec.method, honoPath(spec.path), async (c) => {
        await countAddress(c, spec);
        const session = await sessionOf(services, trustedOrigins, c);
        if (!session) throw signedOut();
        const body = (spec.body ? validate(spec.body, await readJson(c.req.raw), "body") : {}) as never;
        return c.json(await verb({ session, body, c, ...originOf(c) }), spec.status);
      });
    },
    token(spec, verb) {
      declare(spec, { body: spec.body, responses: done(spec.status, spec.answer), credential: "a token" });
      app.on(spec.method, honoPath(spec.path), async (c) => {
        await countAddress(c, spec);
        const session = await sessionOf(services, trustedOrigins, c);
        const body = (spec.body ? validate(spec.body, await readJson(c.req.raw), "body") : {}) as never;
        return c.json(await verb({ session, body, ...originOf(c) }), spec.status);
      });
    },
    public(spec, verb) {
      declare(spec, { body: spec.body, responses: done(spec.status, spec.answer), credential: "its own" });
      app.on(spec.method, honoPath(spec.path), async (c) => {
        await countAddress(c, spec);
        const countFor = (tenantId: TenantId) => count(c, limiter.admitTenant(rateOf(spec), tenantId));
        const answer = await verb(c, validate(spec.body, await readJson(c.req.raw), "body"), { countFor });
        if (answer.replayed) c.header("idempotency-replayed", "true");
        return c.json(answer.body, spec.status);
      });
    },
  };
}

function rateOf({ rate, method }: Described): RateClass {
  return rate ?? (method === "get" ? "read" : "write");
}

/** The query's parameters; what Postgres cannot store is replaced, as it is in bodies. */
function readQuery(c: AppContext): Record<string, string> {
  return Object.fromEntries(Object.entries(c.req.query()).map(([name, value]) => [name, cleanText(value)]));
}

function honoPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ":$1");
}

const idempotencyHeader = z.object({
  "idempotency-key": z.string().max(255).optional().openapi({
    description: "Send the same request again with the same key and it is done once; the answer is the saved one.",
  }),
});

interface Content {
  responses: RouteConfig["responses"];
  body?: z.ZodType | undefined;
  /** What a route that names no permission asks for instead. */
  credential?: "a session" | "a token" | "its own";
}

function done(status: number, answer: z.ZodType | undefined, hasLines = false): RouteConfig["responses"] {
  if (!answer) return { [status]: { description: "Done." } };
  const lines = hasLines ? { [JSON_LINES]: { schema: z.string() } } : {};
  return { [status]: { description: "Done.", content: { "application/json": { schema: answer }, ...lines } } };
}

/** What the OpenAPI document says of a route. */
function describeRoute(
  spec: Described & Partial<Declared<string, unknown>>,
  { responses, body, credential }: Content,
): RouteConfig {
  const names = [...spec.path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name);
  const scope = spec.access
    ? `Permission: \`${spec.access.scope}\`, a scope of secret keys; members with the roles ${PERMISSIONS[spec.access.scope].join(", ")} have it.`
    : "";
  return {
    method: spec.method,
    path: spec.path,
    tags: [spec.tag],
    summary: spec.summary,
    description: [spec.description, scope].filter(Boolean).join("\n\n"),
    security: securityOf(spec.access, credential),
    ...(spec.access ? { "x-permission": spec.access.scope } : {}),
    request: {
      ...(names.length > 0 ? { params: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) } : {}),
      ...(spec.query ? { query: spec.query as z.ZodObject } : {}),
      ...(spec.method === "post" && (spec.access || credential === "its own") ? { headers: idempotencyHeader } : {}),
      ...(body ? { body: { content: { "application/json": { schema: body } }, required: true } } : {}),
    },
    responses: {
      ...responses,
      default: {
        description: "A problem (RFC 9457): `code` is stable, `detail` says what to do.",
        content: { "application/problem+json": { schema: problemSchema } },
      },
    },
  };
}

function securityOf(access: Access | undefined, credential: Content["credential"]): Record<string, string[]>[] {
  if (credential === "a session") return [{ memberSession: [] }];
  if (!access) return [];
  return [{ secretKey: [] }, { memberSession: [] }, ...(access.visitor ? [{ visitorToken: [] }] : [])];
}
