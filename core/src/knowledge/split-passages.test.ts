import fc from "fast-check";
import { expect, test } from "vitest";
import { splitPassages } from "./split-passages.ts";

const LONGEST = 420;
const squeeze = (text: string) => text.replaceAll(/\s/g, "");

test("short paragraphs stay whole, each a passage of its own", () => {
  expect(splitPassages("We open at nine.  We close\nat five.\n\n \t\nOn Sundays we are closed.")).toEqual([
    "We open at nine. We close at five.",
    "On Sundays we are closed.",
  ]);
});

test("a long paragraph is cut between sentences", () => {
  const sentences = Array.from(
    { length: 12 },
    (_, n) => `This is sentence number ${n}, and it is about shipping and returns.`,
  );
  const passages = splitPassages(sentences.join(" "));
  expect(passages.length).toBeGreaterThan(1);
  expect(passages.join(" ")).toBe(sentences.join(" "));
  for (const passage of passages) expect(passage).toMatch(/^This is .* returns\.$/);
});

test("a long sentence is cut between words, a word without end where it must be", () => {
  const long = Array.from({ length: 200 }, (_, n) => `word${n}`).join(" ");
  for (const passage of splitPassages(long)) expect(passage).toMatch(/^word\d+( word\d+)*$/);
  expect(splitPassages(long).join(" ")).toBe(long);
  const endless = "x".repeat(2_000);
  expect(splitPassages(endless).join("")).toBe(endless);
});

test("nothing is no passage", () => {
  for (const text of ["", " ", "\n\n\n", "\u00a0\n\t"]) expect(splitPassages(text)).toEqual([]);
});

const character = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...Array.from("aZ9é漢字ไทย𝒜𐌀👋🏽'\"-_/")) },
  { weight: 2, arbitrary: fc.constantFrom(" ", ". ", "! ", "\n", "\n\n", "\t", "。", "\r\n", "\u2028") },
);
/** Texts with long runs in them, where cuts are hard; some of one character alone. */
const text = fc
  .array(
    fc.oneof(
      fc.tuple(
        fc.array(character, { maxLength: 30 }).map((all) => all.join("")),
        fc.integer({ min: 1, max: 40 }),
      ),
      fc.tuple(character, fc.integer({ min: 1, max: 1_500 })),
    ),
    { maxLength: 6 },
  )
  .map((runs) => runs.map(([run, times]) => run.repeat(times)).join(""));

test("any text: nothing is lost, no passage is empty or too long, no character is torn", () => {
  fc.assert(
    fc.property(text, (whole) => {
      const passages = splitPassages(whole);
      expect(squeeze(passages.join(""))).toBe(squeeze(whole));
      for (const passage of passages) {
        expect(passage.length).toBeGreaterThan(0);
        expect(passage.length).toBeLessThanOrEqual(LONGEST);
        expect(passage).toBe(passage.trim());
        expect(passage.isWellFormed()).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});
