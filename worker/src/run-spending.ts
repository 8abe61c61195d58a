import { setTimeout as delay } from "node:timers/promises";
import { audit } from "@agent-engine/core/audit/audit.ts";
import {
  reserveBudget,
  settleBudget,
  type BudgetStanding,
  type Reservation,
  type SpendingRun,
  type Spent,
} from "@agent-engine/core/budgets/reserve.ts";
import type { SpendingRules } from "@agent-engine/core/budgets/spending-rules.ts";
import type { Ctx } from "@agent-engine/core/context.ts";
import { isPermanent } from "@agent-engine/core/db/permanent-error.ts";
import { transact } from "@agent-engine/core/db/transaction.ts";
import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import { costOf, priceOf, type Prices } from "@agent-engine/core/models/prices.ts";
import type { Claim } from "@agent-engine/core/runs/claim-run.ts";
import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import type { ModelChoice } from "@agent-engine/protocol/resources.ts";
import type { ModelProvider } from "./engine/model-provider.ts";
import type { Ledger, Spending } from "./engine/spending.ts";
import { tokensOf } from "./engine/usage.ts";

const ASK_AGAIN_MS = 200;
const SETTLE_TRIES = 5;

export interface RunSpendingDeps {
  ctx: Ctx;
  claim: Claim;
  rules: SpendingRules;
  /** Throws when the lease is lost. */
  assertLease(): void;
  modelOf(choice: ModelChoice): Promise<ModelProvider>;
}

/** A run's spending in Postgres: what its turns cost, and the budgets they come out of. */
export function createRunSpending({ ctx, claim, rules, assertLease, modelOf }: RunSpendingDeps): Spending {
  const { prices, hasBudgets } = rules;
  return {
    costOf: (usage) => usage.reduce((sum, entry) => sum + (costOf(prices, entry) ?? 0), 0),
    ledger: hasBudgets ? createLedger({ ctx, claim, prices, assertLease, modelOf }) : null,
  };
}

function createLedger(deps: Omit<RunSpendingDeps, "rules"> & { prices: Prices }): Ledger {
  const { ctx, claim, prices, assertLease } = deps;
  const { services } = ctx;
  const log = services.log.child({ runId: claim.runId, correlationId: claim.correlationId });
  const run: SpendingRun = claim;
  const models = new Map<string, Promise<ModelProvider>>();

  /** For as long as the lease is held: a budget that cannot be asked holds a run up, and fails it never. */
  async function reserve(estimate: Spent): Promise<Reservation> {
    for (;;) {
      try {
        return await reserveBudget(ctx, run, estimate);
      } catch (error) {
        if (isPermanent(error)) throw error;
        log.warn({ err: error }, "a budget is asked again");
      }
      await delay(ASK_AGAIN_MS);
      assertLease();
    }
  }

  return {
    async reserve(model, { inputTokens, outputTokens }) {
      const price = priceOf(prices, model.provider, model.modelId);
      const reservation = await reserve(
        isModelOfOurs(model.provider)
          ? { tokens: 0, costMicros: 0 }
          : {
              tokens: inputTokens + outputTokens,
              costMicros: price ? Math.ceil(inputTokens * price.input + outputTokens * price.output) : 0,
            },
      );
      if (reservation.outcome === "lost") throw new LeaseLost(claim.runId);
      for (const standing of reservation.news) await tell(ctx, standing);
      const { outcome, number, action, fallbackModel, leading } = reservation;
      return { outcome, number, action, fallbackModel, leading };
    },
    async settle(number, { stepIndex, usage, isEstimate }) {
      if (number === 0) return;
      const isOurs = isModelOfOurs(usage.provider);
      const costMicros = costOf(prices, usage);
      const settlement = {
        number,
        stepIndex,
        spent: isOurs ? { tokens: 0, costMicros: 0 } : { tokens: tokensOf([usage]), costMicros: costMicros ?? 0 },
        estimate: isEstimate && !isOurs ? { ...estimateOf(usage), costMicros } : null,
      };
      for (let tries = 1; ; tries++) {
        try {
          await settleBudget(ctx, run, settlement);
          return;
        } catch (error) {
          if (isPermanent(error) || tries === SETTLE_TRIES) {
            log.error({ err: error, ...settlement.spent }, "a model call was not counted");
            return;
          }
        }
        await delay(ASK_AGAIN_MS * tries);
      }
    },
    modelOf(choice) {
      const key = JSON.stringify(choice);
      const known = models.get(key) ?? deps.modelOf(choice);
      models.set(key, known);
      return known;
    },
  };
}

/** Runs in this process, for nothing. */
function isModelOfOurs(provider: string | undefined): boolean {
  return provider === "extractive";
}

function estimateOf(usage: TokenUsage) {
  return {
    provider: usage.provider ?? "",
    model: usage.model ?? "",
    inputTokens: usage.inputTokens ?? 0,
    outputTokens: usage.outputTokens ?? 0,
  };
}

/** Once for each rung of a budget in its period. The audit log hears of what concerns everybody or an agent. */
async function tell(ctx: Ctx, standing: BudgetStanding): Promise<void> {
  const { tenantId, services } = ctx;
  services.log.warn({ tenantId, ...standing }, "budget reached");
  if (standing.subject === "visitor") return;
  try {
    await transact(ctx, (tx) =>
      audit(ctx, tx, {
        action: "budget.reached",
        target: { kind: "budget", id: standing.budgetId },
        after: { ...standing },
      }),
    );
  } catch (error) {
    services.log.error({ err: error, budgetId: standing.budgetId }, "a budget's state was not put on record");
  }
}

/** A turn's usage as it is stored with its step: what it cost is not for visitors, so events never have it. */
export function priced(prices: Prices, usage: TokenUsage): TokenUsage & { costMicros?: number } {
  const costMicros = costOf(prices, usage);
  return costMicros === null ? usage : { ...usage, costMicros };
}
