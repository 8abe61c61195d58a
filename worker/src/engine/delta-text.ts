import { cleanText } from "@agent-engine/protocol/clean-text.ts";

/**
 * Makes each delta of a stream storable by itself. Models split text anywhere, also inside a character outside the
 * BMP: the first half is held back until the second arrives. What can never become a character turns into U+FFFD.
 */
export class DeltaText {
  #held = "";

  /** What may be written now; empty when everything is held back. */
  take(delta: string): string {
    let piece = this.#held === "" ? delta : this.#held + delta;
    const last = piece.charCodeAt(piece.length - 1);
    if ((last & 0xfc00) === 0xd800) {
      this.#held = piece.slice(-1);
      piece = piece.slice(0, -1);
    } else {
      this.#held = "";
    }
    return piece.isWellFormed() && !piece.includes("\u0000") ? piece : cleanText(piece);
  }

  /** What is left at the end of the stream: half a character, or nothing. */
  rest(): string {
    const held = this.#held;
    this.#held = "";
    return held === "" ? "" : cleanText(held);
  }
}
