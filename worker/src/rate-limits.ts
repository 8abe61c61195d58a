/**
 * What other sides have asked of this worker with `Retry-After`: a tool that wants to be left alone is not called again
 * by another run either, until the time is over. Like circuits they live in memory: each worker is told once.
 */
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Failure } from "@agent-engine/core/toolkits/failure.ts";
import type { RateLimit } from "./engine/rate-limit.ts";

/** Limits are a tool's and an account's: that one visitor's is used up says nothing of another's. */
export interface LimitName {
  tenantId: TenantId;
  toolkit: string;
  host: string;
  tool: string;
}

export interface RateLimits {
  rateLimitOf(name: LimitName): RateLimit;
}

/** Of limits that are remembered; the ones said longest ago are forgotten. */
const MAX_LIMITS = 1_000;

export function createRateLimits(max = MAX_LIMITS): RateLimits {
  const held = new Map<string, { failure: Failure; saidMs: number; untilMs: number }>();

  return {
    rateLimitOf({ tenantId, toolkit, host, tool }) {
      const keyOf = (connectionId: string | null) => JSON.stringify([tenantId, toolkit, host, tool, connectionId]);
      return {
        heldBy(connectionId, nowMs) {
          const key = keyOf(connectionId);
          const limit = held.get(key);
          if (!limit) return null;
          if (limit.untilMs > nowMs) return limit;
          held.delete(key);
          return null;
        },
        failed(connectionId, failure, nowMs) {
          const asked = failure.kind === "transient" ? (failure.retryAfterMs ?? 0) : 0;
          const key = keyOf(connectionId);
          if (asked <= 0 || nowMs + asked <= (held.get(key)?.untilMs ?? 0)) return;
          held.delete(key);
          held.set(key, { failure, saidMs: nowMs, untilMs: nowMs + asked });
          for (const [oldest] of held) {
            if (held.size <= max) return;
            held.delete(oldest);
          }
        },
        answered(connectionId, begunMs) {
          const key = keyOf(connectionId);
          // Calls that were under way when one of them was told so may be answered well, and mean nothing by it.
          if (begunMs > (held.get(key)?.saidMs ?? 0)) held.delete(key);
        },
      };
    },
  };
}
