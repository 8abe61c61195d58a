import { expect, test } from "vitest";
import { createKeptTexts } from "./kept-texts.ts";

function keptOf(limits: { texts: number; characters: number }, ...texts: string[]): string[] {
  const kept = createKeptTexts<number>(limits);
  for (const [index, text] of texts.entries()) kept.keep(text, index);
  return [...new Set(texts)].filter((text) => kept.get(text) !== undefined);
}

test("the oldest go when there are too many, or when they are too long in all", () => {
  expect(keptOf({ texts: 2, characters: 100 }, "a", "b", "c")).toEqual(["b", "c"]);
  expect(keptOf({ texts: 9, characters: 5 }, "aaa", "bb", "c")).toEqual(["bb", "c"]);
  expect(keptOf({ texts: 9, characters: 5 }, "aa", "bbbbb")).toEqual(["bbbbb"]);
});

test("one that is too long by itself is not kept, and one that is kept again counts once", () => {
  expect(keptOf({ texts: 9, characters: 5 }, "a", "bbbbbb")).toEqual([]);
  expect(keptOf({ texts: 9, characters: 5 }, "aaa", "aaa", "bb")).toEqual(["aaa", "bb"]);
});
