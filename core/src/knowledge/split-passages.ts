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

/** Sentences; for one that is longer than a passage its words, gathered up to that length. */
function* pieces(paragraph: string): Generator<string> {
  for (const { segment } of sentences.segment(paragraph)) {
    if (segment.length <= MAX_PASSAGE_LENGTH) yield segment;
    else yield* gather(wordsOf(segment));
  }
}

/** Words; one that is longer than a passage is no language, and its characters do as well. */
function* wordsOf(sentence: string): Generator<string> {
  for (const { segment } of words.segment(sentence)) {
    if (segment.length <= MAX_PASSAGE_LENGTH) yield segment;
    else yield* segment;
  }
}

function* gather(parts: Iterable<string>): Generator<string> {
  let piece = "";
  for (const part of parts) {
    if (piece.length + part.length > MAX_PASSAGE_LENGTH) {
      yield piece;
      piece = "";
    }
    piece += part;
  }
  yield piece;
}
