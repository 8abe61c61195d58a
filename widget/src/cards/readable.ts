/** A call's arguments, for somebody who has never seen JSON. */
import { inWords } from "./card.ts";
import { cardWords } from "./card-words.ts";

export interface Row {
  name: string;
  value: string;
}

const MAX_DEPTH = 3;
const MAX_ROWS = 100;

/** One row for each value; what is nested is named after all that it is in. */
export function rowsOf(value: unknown): Row[] {
  const rows: Row[] = [];
  add(rows, [], value);
  return rows.slice(0, MAX_ROWS);
}

function add(rows: Row[], path: readonly string[], value: unknown): void {
  const parts = partsOf(value);
  if (!parts || path.length > MAX_DEPTH) {
    rows.push({ name: path.join(" · "), value: textOf(value) });
    return;
  }
  for (const [key, part] of parts) add(rows, [...path, inWords(key)], part);
}

/** null for what is shown in one row. */
function partsOf(value: unknown): [string, unknown][] | null {
  if (typeof value !== "object" || value === null) return null;
  if (!Array.isArray(value)) return Object.keys(value).length > 0 ? Object.entries(value) : null;
  const isList = value.every((part) => typeof part !== "object" || part === null);
  return isList ? null : value.map((part, index) => [`${index + 1}`, part]);
}

function textOf(value: unknown): string {
  if (value === true) return cardWords.yes;
  if (value === false) return cardWords.no;
  if (value === null || value === undefined || value === "") return cardWords.none;
  if (Array.isArray(value) && value.every((part) => typeof part !== "object" || part === null)) {
    return value.map(textOf).join(", ") || cardWords.none;
  }
  if (typeof value === "object") return Object.keys(value).length > 0 ? JSON.stringify(value) : cardWords.none;
  return `${value as string | number}`;
}
