import { expect, test } from "vitest";
import { costOf, priceOf, type Prices } from "./prices.ts";

const none: Prices = new Map();
const own: Prices = new Map([
  ["gpt-5-mini", { input: 1, cachedInput: 0.5, output: 4 }],
  ["our-model", { input: 0.1, cachedInput: 0.1, output: 0.2 }],
]);

test.each([
  ["openai", "gpt-5-mini", 0.25],
  ["openai", "gpt-5-mini-2025-08-07", 0.25],
  ["anthropic", "claude-haiku-4-5-20251001", 1],
  ["anthropic", "claude-haiku-4-5", 1],
])("%s %s has the vendor's list price", (provider, model, input) => {
  expect(priceOf(none, provider, model)?.input).toBe(input);
});

test.each([
  ["openai", "a-model-nobody-knows"],
  ["openai", "gpt-5-mini-preview"],
  ["openai", "toString"],
  ["openai-compatible", "gpt-5-mini"],
  ["toString", "gpt-5-mini"],
  [undefined, undefined],
])("%s %s has none, and costs nothing that is counted", (provider, model) => {
  expect(priceOf(none, provider, model)).toBeNull();
  expect(costOf(none, { ...(provider && { provider }), ...(model && { model }), inputTokens: 1_000_000 })).toBeNull();
});

test("a tenant's own price comes first, whoever serves the model", () => {
  expect(priceOf(own, "openai", "gpt-5-mini-2025-08-07")?.input).toBe(1);
  expect(priceOf(own, "openai-compatible", "our-model")?.output).toBe(0.2);
});

test("a turn costs its input, less for what was cached, and its output, in whole micro-dollars", () => {
  const usage = {
    provider: "openai",
    model: "gpt-5-mini",
    inputTokens: 1_000,
    cachedInputTokens: 400,
    outputTokens: 101,
  };
  expect(costOf(own, usage)).toBe(600 + 200 + 404);
  expect(costOf(none, usage)).toBe(Math.round(600 * 0.25 + 400 * 0.025 + 101 * 2));
  expect(costOf(own, { ...usage, cachedInputTokens: 5_000 })).toBe(500 + 404);
  expect(costOf(own, { provider: "openai", model: "gpt-5-mini" })).toBe(0);
});

test("the model of this process is free", () => {
  expect(costOf(none, { provider: "extractive", model: "extractive" })).toBe(0);
});
