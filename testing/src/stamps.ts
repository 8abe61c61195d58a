/**
 * Tokens that carry the moment they were written: `00042@1764000000000.123 `, fixed width, so that a reader finds
 * them again however deltas were merged, and sees what was lost, repeated or out of order.
 * The clock is the machine's (`performance.timeOrigin + performance.now()`), comparable between its processes.
 */

/** Characters of one stamp. */
export const STAMP_LENGTH = 24;

export interface Stamp {
  index: number;
  /** Milliseconds since the epoch, with microseconds as decimals. */
  atMs: number;
}

export function preciseNowMs(): number {
  return performance.timeOrigin + performance.now();
}

export function stampToken(index: number, atMs: number): string {
  return `${String(index).padStart(5, "0")}@${atMs.toFixed(3)} `;
}

/** The stamps in a text from `offset` on; the text must begin with a stamp there. Stops before an incomplete one. */
export function readStamps(text: string, offset = 0): Stamp[] {
  const stamps: Stamp[] = [];
  for (let at = offset; at + STAMP_LENGTH <= text.length; at += STAMP_LENGTH) {
    const index = Number(text.slice(at, at + 5));
    const atMs = Number(text.slice(at + 6, at + STAMP_LENGTH - 1));
    if (text[at + 5] !== "@" || Number.isNaN(index) || Number.isNaN(atMs)) {
      throw new Error(`no stamp at ${at}: ${JSON.stringify(text.slice(at, at + STAMP_LENGTH))}`);
    }
    stamps.push({ index, atMs });
  }
  return stamps;
}
