/** Budgets, prices and usage, for the OpenAPI document. Held to `protocol/`. */
import { z } from "@hono/zod-openapi";
import type { Budget, ModelPrice, UsageRow } from "@agent-engine/protocol/budgets.ts";
import { modelChoice } from "@agent-engine/protocol/schemas/requests.ts";

const time = z.string().openapi({ format: "date-time", example: "2026-11-22T12:00:00.000Z" });
const date = z.string().openapi({ format: "date", example: "2026-11-01" });
const id = (prefix: string) =>
  z.string().openapi({ pattern: `^${prefix}_[0-9a-f]{32}$`, example: `${prefix}_0198c0de00007000800000000000cafe` });
const count = z.int().min(0);
const micros = count.openapi({ description: "Micro-dollars: 1,000,000 are a dollar." });
const percent = z.int().min(1).max(100).nullable();

export const budgetSchema: z.ZodType<Budget> = z
  .object({
    id: id("budget"),
    name: z.string(),
    subject: z.enum(["tenant", "agent", "visitor"]),
    subjectId: z.string().nullable().openapi({ description: "Which agent or visitor; null: each one by itself." }),
    period: z.enum(["day", "month"]).openapi({ description: "They begin at midnight UTC." }),
    maxRuns: count.nullable(),
    maxTokens: count.nullable(),
    maxCostMicros: micros.nullable(),
    warnAtPercent: percent,
    fallbackAtPercent: percent,
    withoutToolsAtPercent: percent,
    fallbackModel: modelChoice.nullable(),
    current: z
      .object({
        startsOn: date,
        runs: count,
        tokens: count,
        costMicros: micros,
        heldTokens: count,
        heldCostMicros: micros,
      })
      .nullable()
      .openapi({ description: "Of this day or month. Null: nothing was used yet, or it is a budget of each." }),
    createdAt: time,
  })
  .openapi("Budget");

const dollars = z.number().min(0).openapi({ description: "Micro-dollars a token, which is dollars a million tokens." });
export const modelPriceSchema: z.ZodType<ModelPrice> = z
  .object({
    id: id("price"),
    model: z.string(),
    input: dollars,
    cachedInput: dollars,
    output: dollars,
    createdAt: time,
  })
  .openapi("ModelPrice");

export const usageSchema: z.ZodType<UsageRow> = z
  .object({
    startsOn: date,
    agentId: id("agent").nullable(),
    visitorId: id("visitor").nullable(),
    provider: z.string().nullable(),
    model: z.string().nullable(),
    runs: count,
    turns: count,
    inputTokens: count,
    outputTokens: count,
    totalTokens: count,
    reasoningTokens: count,
    cachedInputTokens: count,
    costMicros: micros,
    unpricedTokens: count.openapi({ description: "Of models without a price: no money is counted for them." }),
    estimatedTokens: count.openapi({
      description: "Of turns that were cut short before the vendor said what they used.",
    }),
  })
  .openapi("Usage");
