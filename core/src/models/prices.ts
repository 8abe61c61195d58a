/**
 * What models cost: the vendors' list prices, and a tenant's own in their place. Micro-dollars a token, which is dollars
 * a million tokens. A model that is not here has no price, and no money is counted for it.
 */
import type { TokenUsage } from "@agent-engine/protocol/events.ts";

export interface Price {
  input: number;
  /** Input that the vendor had in its cache. */
  cachedInput: number;
  output: number;
}

/** By model. */
export type Prices = ReadonlyMap<string, Price>;

const price = (input: number, cachedInput: number, output: number): Price => ({ input, cachedInput, output });

/** List prices change: a tenant whose bill says otherwise sets its own. */
const LIST_PRICES: Readonly<Record<string, Readonly<Record<string, Price>>>> = {
  openai: {
    "gpt-5": price(1.25, 0.125, 10),
    "gpt-5-mini": price(0.25, 0.025, 2),
    "gpt-5-nano": price(0.05, 0.005, 0.4),
    "gpt-5.1": price(1.25, 0.125, 10),
    "gpt-4.1": price(2, 0.5, 8),
    "gpt-4.1-mini": price(0.4, 0.1, 1.6),
    "gpt-4.1-nano": price(0.1, 0.025, 0.4),
    "gpt-4o": price(2.5, 1.25, 10),
    "gpt-4o-mini": price(0.15, 0.075, 0.6),
    o3: price(2, 0.5, 8),
    "o4-mini": price(1.1, 0.275, 4.4),
  },
  anthropic: {
    "claude-opus-4-5": price(5, 0.5, 25),
    "claude-opus-4-1": price(15, 1.5, 75),
    "claude-sonnet-4-5": price(3, 0.3, 15),
    "claude-sonnet-4": price(3, 0.3, 15),
    "claude-haiku-4-5": price(1, 0.1, 5),
    "claude-3-5-haiku": price(0.8, 0.08, 4),
  },
};

const FREE = price(0, 0, 0);

/** A dated name is its model's: `gpt-5-mini-2025-08-07`, `claude-haiku-4-5-20251001`. */
const DATE = /-(\d{4}-\d{2}-\d{2}|\d{8})$/;

/** Null: it has none. The tenant's own come first; list prices are those of the vendors themselves. */
export function priceOf(own: Prices, provider: string | undefined, model: string | undefined): Price | null {
  if (provider === "extractive") return FREE;
  if (model === undefined) return null;
  const undated = model.replace(DATE, "");
  const listed = LIST_PRICES[provider ?? ""] ?? {};
  const inList = (name: string) => (Object.hasOwn(listed, name) ? listed[name] : undefined);
  return own.get(model) ?? own.get(undated) ?? inList(model) ?? inList(undated) ?? null;
}

/** Whole micro-dollars of a turn; null for a model without a price. */
export function costOf(own: Prices, usage: TokenUsage): number | null {
  const its = priceOf(own, usage.provider, usage.model);
  if (!its) return null;
  const input = usage.inputTokens ?? 0;
  const cached = Math.min(usage.cachedInputTokens ?? 0, input);
  return Math.round((input - cached) * its.input + cached * its.cachedInput + (usage.outputTokens ?? 0) * its.output);
}
