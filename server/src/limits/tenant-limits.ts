import type { RateLimits } from "@agent-engine/core/config/rate-limits.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { readRateLimits } from "@agent-engine/core/tenancy/read-rate-limits.ts";
import type { TenantId } from "@agent-engine/protocol/ids.ts";
import { readTenantLimits } from "./rate-limiter.ts";

/** How long a change takes to count at every server. */
const REMEMBERED_MS = 5_000;
const MAX_REMEMBERED = 20_000;

interface Remembered {
  limits: Partial<RateLimits> | null;
  askAgainMs: number;
}

/**
 * The limits that operators gave a tenant. No request waits for them: the first ones of a tenant go by everybody's, and
 * those that come while they are asked for anew go by what was known.
 */
export function createTenantLimits(services: Services): (tenantId: TenantId) => Partial<RateLimits> | null {
  const remembered = new Map<TenantId, Remembered>();

  async function ask(tenantId: TenantId, entry: Remembered): Promise<void> {
    try {
      entry.limits = readTenantLimits(await readRateLimits(services, tenantId));
    } catch (error) {
      services.log.debug({ err: error, tenantId }, "a tenant's limits could not be read");
    }
  }

  return (tenantId) => {
    let entry = remembered.get(tenantId);
    if (!entry) {
      for (const oldest of remembered.keys()) {
        if (remembered.size < MAX_REMEMBERED) break;
        remembered.delete(oldest);
      }
      entry = { limits: null, askAgainMs: 0 };
      remembered.set(tenantId, entry);
    }
    const nowMs = services.clock();
    if (entry.askAgainMs <= nowMs) {
      entry.askAgainMs = nowMs + REMEMBERED_MS;
      void ask(tenantId, entry);
    }
    return entry.limits;
  };
}
