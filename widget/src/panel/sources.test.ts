import { expect, it } from "vitest";
import { citationIndex, citedNumbers } from "./sources.ts";

const citation = (documentId: string) => ({ messageId: "msg_a", documentId, title: "", url: null, quote: "" });

it("reads the numbers of a text in order of appearance, each once", () => {
  expect(citedNumbers("First [3], then [1, 3] and [2]. Not [4](https://x.example), nor [a] or [1234].")).toEqual([
    3, 1, 2,
  ]);
});

it("finds the citation of a number by that order", () => {
  const text = "First [3], then [1].";
  const citations = [citation("doc_a"), citation("doc_b")];
  expect(citationIndex(3, text, citations)).toBe(0);
  expect(citationIndex(1, text, citations)).toBe(1);
});

it("guesses nothing when a number has no source", () => {
  expect(citationIndex(3, "First [3], then [9].", [citation("doc_a")])).toBe(-1);
});
