import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isSafePattern } from "./safe-pattern.ts";

describe("patterns from outside", () => {
  it.each([
    "^[a-zA-Z0-9_-]{1,64}$",
    "^\\d{4}-\\d{2}-\\d{2}$",
    "^(asc|desc)$",
    "^[a-z]+$",
    "^https?://",
    "^#[0-9a-fA-F]{6}$",
    "^\\p{L}+$",
    "^(?:ab)*$",
    "^[^/\\]]{1,10}(?:\\.[a-z]{2,3})?$",
    "",
  ])("keeps %s", (pattern) => {
    expect(isSafePattern(pattern)).toBe(true);
  });

  it.each([
    "(a+)+$",
    "^(a|a)*$",
    "^(a|aa)+$",
    "(a?){30}a{30}",
    "^a*a*a*b$",
    "a+b",
    "^a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaaaaa$",
    "^((a{0,100}){0,100}){0,100}$",
    "^((a{1000}){1000}){1000}$",
    "^(?=a).*$",
    "^(a)\\1$",
    "^(?<!x)a$",
    "^a+$|b+c",
    "[",
    "(?i)abc",
    "a**",
    "\\d(",
    "x".repeat(301),
  ])("refuses %s", (pattern) => {
    expect(isSafePattern(pattern)).toBe(false);
  });

  it("answers for any text, and what it keeps is quick on text made to be slow", () => {
    const part = fc.constantFrom(
      "a",
      "[ab]",
      "(",
      ")",
      "(?:",
      "*",
      "+",
      "?",
      "{2,9}",
      "|",
      "^",
      "$",
      "\\w",
      ".",
      "{,}",
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 14 }), (parts) => {
        const pattern = parts.join("");
        if (!isSafePattern(pattern)) return;
        const started = performance.now();
        RegExp(pattern, "u").test(`${"a".repeat(5_000)}!`);
        expect(performance.now() - started).toBeLessThan(1_000);
      }),
      { numRuns: 3_000 },
    );
  });
});
