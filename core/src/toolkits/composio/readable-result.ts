/** What a model can read of a result: whole where it is small, and without what is no text. */

/** The model is given about 32,000 characters; this leaves it the shape of what is cut. */
const MAX_LENGTH = 30_000;
const MAX_TEXT = 8_000;
const MAX_ITEMS = 50;
const MAX_DEPTH = 12;
/** Longer runs without a space or a line are no words. */
const BINARY = /^[A-Za-z0-9+/_=-]{2000,}$/;

/** The same value, or one of the same shape with long texts and lists cut short, and binary data named instead of given. */
export function readable(value: unknown): unknown {
  const whole = shorten(value, Infinity, Infinity, 0);
  if (lengthOf(whole) <= MAX_LENGTH) return whole;
  let cut = whole;
  for (let texts = MAX_TEXT, items = MAX_ITEMS; texts >= 100; texts /= 2, items = Math.max(3, Math.ceil(items / 2))) {
    cut = shorten(value, texts, items, 0);
    if (lengthOf(cut) <= MAX_LENGTH) break;
  }
  return cut;
}

function lengthOf(value: unknown): number {
  return (JSON.stringify(value) ?? "").length;
}

function shorten(value: unknown, texts: number, items: number, depth: number): unknown {
  if (typeof value === "string") return shortText(value, texts);
  if (typeof value !== "object" || value === null) return value;
  if (depth >= MAX_DEPTH) return "[nested too deeply]";
  if (Array.isArray(value)) {
    const shown = value.slice(0, items).map((entry) => shorten(entry, texts, items, depth + 1));
    return value.length > items ? [...shown, `[${value.length - items} more left out]`] : shown;
  }
  const entries = Object.entries(value);
  const shown = entries.slice(0, items * 4).map(([key, entry]) => [key, shorten(entry, texts, items, depth + 1)]);
  return Object.fromEntries(shown);
}

function shortText(text: string, max: number): string {
  if (BINARY.test(text)) return `[${text.length} characters of binary data left out]`;
  return text.length > max ? `${text.slice(0, max)} … [${text.length - max} characters cut]` : text;
}
