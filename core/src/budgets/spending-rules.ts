import type { TenantId } from "@agent-engine/protocol/ids.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";
import type { Price, Prices } from "../models/prices.ts";

/** What a tenant's runs must mind when they spend. */
export interface SpendingRules {
  hasBudgets: boolean;
  /** The tenant's own. */
  prices: Prices;
}

const ofTenant = statement<{ has_budgets: boolean; prices: (Price & { model: string })[] | null }>(
  "spending_rules_of",
  "select * from spending_rules_of($1)",
);

/** As old as they may be. Who hears of a change forgets them at once. */
const MAX_AGE_MS = 5_000;
/** From then on they are read anew beside whoever uses them. */
const REFRESH_AFTER_MS = 2_000;
const MAX_TENANTS = 5_000;

export interface SpendingRulesReader {
  of(tenantId: TenantId): Promise<SpendingRules>;
  close(): void;
}

/**
 * Reads tenants' rules and keeps them for seconds: that a tenant has none is kept as well, so that its runs ask nobody.
 * While Postgres does not answer, what was read last holds.
 */
export function createSpendingRulesReader(
  services: Pick<Services, "db" | "bus" | "log">,
  now: () => number = () => performance.now(),
): SpendingRulesReader {
  const kept = new Map<TenantId, { rules: SpendingRules; readAt: number }>();
  const reading = new Map<TenantId, Promise<SpendingRules>>();

  function read(tenantId: TenantId): Promise<SpendingRules> {
    const known = reading.get(tenantId);
    if (known) return known;
    const readAt = now();
    const promise = readRules(services, tenantId)
      .then((rules) => {
        // Forgotten while it was read: what was read may be from before the change.
        if (reading.get(tenantId) !== promise) return rules;
        kept.delete(tenantId);
        const [oldest] = kept.keys();
        if (kept.size >= MAX_TENANTS && oldest !== undefined) kept.delete(oldest);
        kept.set(tenantId, { rules, readAt });
        return rules;
      })
      .finally(() => {
        if (reading.get(tenantId) === promise) reading.delete(tenantId);
      });
    reading.set(tenantId, promise);
    return promise;
  }

  const subscription = services.bus.control.subscribe((message) => {
    if (message.kind !== "spending.changed") return;
    kept.delete(message.tenantId);
    reading.delete(message.tenantId);
  });
  return {
    async of(tenantId) {
      const known = kept.get(tenantId);
      if (!known) return read(tenantId);
      const age = now() - known.readAt;
      if (age < REFRESH_AFTER_MS) return known.rules;
      const fresh = read(tenantId).catch((error: unknown) => {
        services.log.warn({ err: error, tenantId }, "a tenant's spending rules could not be read anew");
        return known.rules;
      });
      return age < MAX_AGE_MS ? known.rules : fresh;
    },
    close: () => void subscription.then((leave) => leave()),
  };
}

async function readRules(services: Pick<Services, "db">, tenantId: TenantId): Promise<SpendingRules> {
  const [row] = await services.db.query(ofTenant, [uuidOf(tenantId)]);
  return {
    hasBudgets: row?.has_budgets ?? false,
    prices: new Map((row?.prices ?? []).map(({ model, ...price }) => [model, price])),
  };
}
