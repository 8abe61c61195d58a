import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DeltaText } from "./delta-text.ts";

const joined = (pieces: readonly string[]) => {
  const text = new DeltaText();
  const written = pieces.map((piece) => text.take(piece));
  return [...written, text.rest()];
};

describe("the deltas of a stream", () => {
  it("keep a character whose halves arrive apart", () => {
    expect(joined(["a\ud83d", "\ude00b"])).toEqual(["a", "😀b", ""]);
  });

  it("replace a half that stays alone, and NUL, which Postgres cannot hold", () => {
    expect(joined(["a\ud83d", "b"])).toEqual(["a", "\uFFFDb", ""]);
    expect(joined(["\ude00", "\u0000"])).toEqual(["\uFFFD", "\uFFFD", ""]);
    expect(joined(["\ud83d"])).toEqual(["", "\uFFFD"]);
  });

  it("are each well-formed and add up to the text, wherever it is split", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), fc.array(fc.nat(40)), (text, cuts) => {
        const places = [...new Set(cuts.map((cut) => Math.min(cut, text.length)))].sort((a, b) => a - b);
        const pieces = [0, ...places].map((place, index, all) => text.slice(place, all[index + 1]));
        const written = joined(pieces);
        expect(written.every((piece) => piece.isWellFormed())).toBe(true);
        expect(written.join("")).toBe(text.replaceAll("\u0000", "\uFFFD"));
      }),
    );
  });
});
