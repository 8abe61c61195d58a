/** What requests about budgets, prices and usage may hold. */
import { z } from "zod";
import { cleanText } from "../clean-text.ts";
import { modelChoice } from "./requests.ts";

const MAX_COUNT = 1_000_000_000_000;

const name = z
  .string()
  .max(200)
  .transform((value) => cleanText(value).trim())
  .pipe(z.string().min(1, "must not be empty"));
const maximum = z.int().min(0).max(MAX_COUNT).nullable();
const percent = z.int().min(1).max(100).nullable();

const changeable = {
  name,
  maxRuns: maximum,
  maxTokens: maximum,
  maxCostMicros: maximum,
  warnAtPercent: percent,
  fallbackAtPercent: percent,
  withoutToolsAtPercent: percent,
  fallbackModel: modelChoice.nullable(),
};

export const budgetRequest = z.strictObject({
  name,
  subject: z.enum(["tenant", "agent", "visitor"]),
  subjectId: z.string().max(100).nullable().default(null),
  period: z.enum(["day", "month"]),
  maxRuns: maximum.default(null),
  maxTokens: maximum.default(null),
  maxCostMicros: maximum.default(null),
  warnAtPercent: percent.default(80),
  fallbackAtPercent: percent.default(90),
  withoutToolsAtPercent: percent.default(95),
  fallbackModel: modelChoice.nullable().default(null),
});

export const budgetUpdateRequest = z.strictObject(changeable).partial();

const price = z.number().min(0).max(100_000);
export const modelPriceRequest = z.strictObject({
  model: name,
  input: price,
  /** As `input` unless said otherwise. */
  cachedInput: price.optional(),
  output: price,
});
