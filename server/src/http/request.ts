import type { HttpBindings } from "@hono/node-server";
import type { Context } from "hono";
import type { Actor, Ctx, Services } from "@agent-engine/core/context.ts";
import { newId } from "@agent-engine/core/ids.ts";
import type { VerifiedVisitor } from "@agent-engine/core/visitors/visitor-token.ts";
import type { Standing } from "../limits/rate-limiter.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";

/** Who a request speaks for, once its credential has been checked. */
export interface Principal {
  tenantId: TenantId;
  actor: Actor;
  /** Milliseconds since the epoch when the credential ends; null when it does not. */
  expiresAt: number | null;
  /** The origin a visitor's token is bound to. */
  origin: string | null;
  /** The client's, as far as it can be trusted. */
  address?: string | null;
  /** What a visitor's token says. */
  visitor?: VerifiedVisitor;
  /** A credential that lasts until it is revoked: whether it is still good, and by what others hold the same one. */
  lasting?: { key: string; stillHolds(): Promise<boolean> };
}

export interface AppEnv {
  Bindings: Partial<HttpBindings>;
  Variables: {
    correlationId: string;
    principal?: Principal;
    /** With the limit that the request is closest to. */
    standing?: Standing;
    /** The route's pattern, for the log: `/v1/runs/{runId}`. */
    route?: string;
  };
}

export type AppContext = Context<AppEnv>;

const WELL_FORMED = /^[A-Za-z0-9_.:-]{1,128}$/;

/** The caller's `x-request-id` when it is well-formed, else a new one. It links request, job, events and logs. */
export function correlationIdOf(header: string | null | undefined): string {
  return header && WELL_FORMED.test(header) ? header : newId("req");
}

/** `ip` is the client's address where it is known: the audit log names it. */
export function contextOf(services: Services, principal: Principal, correlationId: string, ip?: string | null): Ctx {
  const { tenantId, actor } = principal;
  return { services, tenantId, actor, correlationId, ...(ip == null ? {} : { ip }) };
}
