/** Decides whether a request may go on, by how many came before it in the minute. */
import { isRateLimit, isRateLimitName } from "@agent-engine/core/config/rate-limits.ts";
import type { RateClass, RateLimitName, RateLimits } from "@agent-engine/core/config/rate-limits.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Principal } from "../http/request.ts";
import { networkOf } from "./network.ts";
import { WINDOW_SECONDS, type Count, type Counters } from "./counters.ts";

/** Where a request stands with the limit that it is closest to. */
export interface Standing {
  name: RateLimitName;
  limit: number;
  remaining: number;
  resetSeconds: number;
}

export interface RateLimiter {
  /** Before anything is looked up for the request. Throws `rate_limited`. */
  admitAddress(rate: RateClass, address: string | null): Promise<Standing | null>;
  /** Once it is known who asks. Throws `rate_limited`. */
  admitCaller(rate: RateClass, principal: Principal, conversationId?: string): Promise<Standing>;
  /** For who has no credential yet. Throws `rate_limited`. */
  admitTenant(rate: RateClass, tenantId: TenantId): Promise<Standing>;
}

export interface RateLimiterOptions {
  counters: Pick<Counters, "add">;
  limits: RateLimits;
  /** What a tenant has been given instead; null while it is not known. Never waits. */
  limitsOf: (tenantId: TenantId) => Partial<RateLimits> | null;
}

/** The error of a request over its limit, with its standing for the headers. */
export class RateLimited extends ProblemError {
  readonly standing: Standing;

  constructor(standing: Standing) {
    const { name, limit, resetSeconds } = standing;
    const seconds = Math.max(resetSeconds, 1);
    super("rate_limited", `${limit} a minute is the limit here (\`${name}\`). Try again in ${seconds} s.`, {
      retryAfterSeconds: seconds,
      extra: { limit: name },
    });
    this.standing = standing;
  }
}

export function createRateLimiter({ counters, limits, limitsOf }: RateLimiterOptions): RateLimiter {
  async function count(name: RateLimitName, of: string, own: Partial<RateLimits> | null): Promise<Standing> {
    const limit = own?.[name] ?? limits[name];
    return admitted(name, limit, await counters.add(`${name}:${of}`, limit));
  }

  return {
    async admitAddress(rate, address) {
      return address === null ? null : count(`${rate}.address`, networkOf(address), null);
    },
    async admitCaller(rate, { tenantId, actor }, conversationId) {
      const own = limitsOf(tenantId);
      // Nobody signed in opens a visitor session: that route knows its tenant only.
      const kind = rate === "session" ? "write" : rate;
      const standings: Promise<Standing>[] = [];
      const caller = callerOf(actor);
      // Visitors may do nothing heavy: theirs are refused, and counted as what they are.
      if (caller?.subject === "visitor")
        standings.push(count(`${kind === "heavy" ? "read" : kind}.visitor`, caller.id, own));
      else if (caller) standings.push(count(`${kind}.key`, caller.id, own));
      standings.push(count(`${kind}.tenant`, tenantId, own));
      if (kind === "message" && caller && conversationId !== undefined) {
        // With the caller in it: nobody uses up somebody else's share by naming their conversation.
        standings.push(count("message.conversation", `${caller.id}:${conversationId}`, own));
      }
      return (await Promise.all(standings)).reduce(closest);
    },
    async admitTenant(rate, tenantId) {
      return count(`${rate}.tenant`, tenantId, limitsOf(tenantId));
    },
  };
}

/** Who is counted for a request besides its tenant. */
export function callerOf(actor: Principal["actor"]): { subject: "visitor" | "key"; id: string } | null {
  switch (actor.kind) {
    case "visitor":
      return { subject: "visitor", id: actor.visitorId };
    case "secret_key":
      return { subject: "key", id: actor.apiKeyId };
    case "member":
      return { subject: "key", id: actor.memberId };
    case "worker":
      return null;
  }
}

function admitted(name: RateLimitName, limit: number, { place, leftMs }: Count): Standing {
  const standing = {
    name,
    limit,
    remaining: Math.max(limit - place, 0),
    resetSeconds: Math.ceil(leftMs / 1_000),
  };
  if (place > limit) throw new RateLimited(standing);
  return standing;
}

export function closest(one: Standing, other: Standing): Standing {
  return other.remaining / other.limit < one.remaining / one.limit ? other : one;
}

/** The fields of the IETF's draft on rate limit headers: the newest form, and the one before it that clients read. */
export function rateLimitHeaders({ name, limit, remaining, resetSeconds }: Standing): [string, string][] {
  return [
    ["ratelimit-limit", String(limit)],
    ["ratelimit-remaining", String(remaining)],
    ["ratelimit-reset", String(resetSeconds)],
    ["ratelimit-policy", `"${name}";q=${limit};w=${WINDOW_SECONDS}`],
    ["ratelimit", `"${name}";r=${remaining};t=${resetSeconds}`],
  ];
}

/** What an operator wrote into a tenant's row, as far as it makes sense. */
export function readTenantLimits(stored: unknown): Partial<RateLimits> {
  if (typeof stored !== "object" || stored === null) return {};
  return Object.fromEntries(
    Object.entries(stored).filter(([name, limit]) => isRateLimitName(name) && isRateLimit(limit)),
  );
}
