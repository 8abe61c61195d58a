/** Longest passage, in UTF-16 units: a few sentences, short enough to quote whole. */
const MAX_PASSAGE_LENGTH = 420;

const sentences = new Intl.Segmenter("en", { granularity: "sentence" });
const words = new Intl.Segmenter("en", { granularity: "word" });

/** Splits a document into passages of whole sentences; a paragraph's end always ends a passage. */
export function splitPassages(text: string): string[] {
  const passages: string[] = [];
  for (const paragraph of text.split(/\n\s*\n/)) {
    let passage = "";
    for (const sentence of pieces(paragraph.replaceAll(/\s+/g, " ").trim())) {
      if (passage !== "" && passage.length + sentence.length > MAX_PASSAGE_LENGTH) {
        passages.push(passage.trim());
        passage = "";
      }
      passage += sentence;
    }
    if (passage.trim() !== "") passages.push(passage.trim());
  }
  return passages;
}

/** Sentences, and for one that is longer than a passage its pieces between words. */
function* pieces(paragraph: string): Generator<string> {
  for (const { segment } of sentences.segment(paragraph)) {
    if (segment.length <= MAX_PASSAGE_LENGTH) {
      yield segment;
      continue;
    }
    let piece = "";
    for (const word of words.segment(segment)) {
      if (piece.length + word.segment.length > MAX_PASSAGE_LENGTH) {
        yield piece;
        piece = "";
      }
      // A "word" without end is cut hard: it is no language.
      piece += word.segment.slice(0, MAX_PASSAGE_LENGTH);
    }
    yield piece;
  }
}
