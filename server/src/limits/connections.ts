import type { RateLimitName, RateLimits } from "@agent-engine/core/config/rate-limits.ts";
import { ProblemError } from "@agent-engine/core/errors.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Principal } from "../http/request.ts";
import type { LiveConnections } from "../realtime/live-connections.ts";
import { networkOf } from "./network.ts";
import { callerOf } from "./rate-limiter.ts";

/** Who opens it goes on without in the meantime: by asking, or with one of those they have. */
const RETRY_AFTER_SECONDS = 15;

export interface LimitedConnections {
  /** Throws `rate_limited` when the caller, their address or their tenant holds all it may at this server. */
  check(principal: Principal): void;
  watch: LiveConnections["watch"];
  /** Keys that hold any. */
  readonly size: number;
}

export interface ConnectionLimits {
  live: Pick<LiveConnections, "watch">;
  limits: RateLimits;
  limitsOf: (tenantId: TenantId) => Partial<RateLimits> | null;
}

/** Counts sockets and event streams together for as long as they are watched, which is as long as they are open. */
export function limitConnections({ live, limits, limitsOf }: ConnectionLimits): LimitedConnections {
  const open = new Map<string, number>();

  function change(keys: readonly string[], by: 1 | -1): void {
    for (const key of keys) {
      const count = (open.get(key) ?? 0) + by;
      if (count > 0) open.set(key, count);
      else open.delete(key);
    }
  }

  return {
    check(principal) {
      const own = limitsOf(principal.tenantId);
      for (const [name, of] of holdersOf(principal)) {
        const limit = own?.[name] ?? limits[name];
        if ((open.get(`${name}:${of}`) ?? 0) < limit) continue;
        throw new ProblemError(
          "rate_limited",
          `${limit} connections are open already (\`${name}\`). Close one, or read the events by page.`,
          { retryAfterSeconds: RETRY_AFTER_SECONDS, extra: { limit: name } },
        );
      }
    },
    watch(principal, end) {
      const keys = holdersOf(principal).map(([name, of]) => `${name}:${of}`);
      change(keys, 1);
      const stop = live.watch(principal, end);
      let isOpen = true;
      return () => {
        if (isOpen) change(keys, -1);
        isOpen = false;
        stop();
      };
    },
    get size() {
      return open.size;
    },
  };
}

function holdersOf({ tenantId, actor, address }: Principal): [RateLimitName, string][] {
  const caller = callerOf(actor);
  return [
    ...(caller ? [[`connections.${caller.subject}`, caller.id] as [RateLimitName, string]] : []),
    ...(address == null ? [] : [["connections.address", networkOf(address)] as [RateLimitName, string]]),
    ["connections.tenant", tenantId],
  ];
}
