import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, it } from "vitest";
import { sha256, solve } from "./proof-of-work.ts";

const hex = (hash: Uint32Array) => [...hash].map((word) => word.toString(16).padStart(8, "0")).join("");

it("hashes any ASCII as SHA-256 does", () => {
  const ascii = fc.string({
    unit: fc.integer({ min: 0, max: 127 }).map((code) => String.fromCharCode(code)),
    maxLength: 300,
  });
  fc.assert(
    fc.property(ascii, (text) => {
      expect(hex(sha256(text))).toBe(createHash("sha256").update(text).digest("hex"));
    }),
    { numRuns: 500 },
  );
  for (let length = 0; length < 200; length++) {
    const text = "x".repeat(length);
    expect(hex(sha256(text))).toBe(createHash("sha256").update(text).digest("hex"));
  }
});

it.each([1, 8, 12, 15])("finds a solution of %i zero bits", async (difficulty) => {
  const challenge = `eyJzYWx0IjoiYSJ9.${"m".repeat(43)}${difficulty}`;
  const solution = await solve(challenge, difficulty);
  expect(solution).toMatch(/^\d+$/);
  const hash = createHash("sha256").update(`${challenge}.${solution}`).digest();
  expect(BigInt(`0x${hash.toString("hex")}`) >> BigInt(256 - difficulty)).toBe(0n);
});

it("leaves the page its turns", async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await solve(`eyJzYWx0IjoiYiJ9.${"m".repeat(43)}`, 17);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
});
