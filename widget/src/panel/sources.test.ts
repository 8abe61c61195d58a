import { expect, it } from "vitest";
import { citationIndex, shownNumber } from "./sources.ts";

const citation = (number: number) => ({
  messageId: "msg_a",
  number,
  documentId: `doc_${number}`,
  title: "",
  url: null,
  quote: "",
});

it("counts sources up in the order of the text, each once", () => {
  const text = "First [3], then [1, 3] and [2]. Not [4](https://x.example), nor [a] or [1234].";
  expect([3, 1, 2].map((number) => shownNumber(number, text))).toEqual([1, 2, 3]);
  expect(shownNumber(9, text)).toBe(9);
});

it("finds the citation of a number, wherever it stands", () => {
  const citations = [citation(3), citation(1)];
  expect(citationIndex(3, citations)).toBe(0);
  expect(citationIndex(1, citations)).toBe(1);
});

it("guesses nothing when a number has no source", () => {
  expect(citationIndex(9, [citation(3)])).toBe(-1);
  expect(citationIndex(1, [])).toBe(-1);
});
