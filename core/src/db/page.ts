import type { Page } from "@agent-engine/protocol/resources.ts";
import { isId } from "@agent-engine/protocol/ids.ts";
import { ProblemError } from "../errors.ts";
import { uuidOf } from "../ids.ts";

export interface PageRequest {
  /** 1 to 100. */
  limit: number;
  /** The `nextCursor` of the page before, or null for the first page. */
  cursor: string | null;
}

/**
 * Lists are newest first. Ids sort by time, so a cursor is the id of the last item shown; rows are asked for with
 * `limit + 1` to know whether more follow.
 */
export function pageOf<Row, Item extends { id: string }>(
  rows: readonly Row[],
  { limit }: PageRequest,
  toItem: (row: Row) => Item,
): Page<Item> {
  const items = rows.slice(0, limit).map(toItem);
  return { items, nextCursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null };
}

/** Above every id: the first page starts here, so that a list's statement always has a bound its index can use. */
const ABOVE_ALL = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/** What a page's ids are below, for SQL. */
export function cursorUuid(prefix: string, cursor: string | null): string {
  const id = cursorId(prefix, cursor);
  return id === null ? ABOVE_ALL : uuidOf(id);
}

/** The id a page starts below. A cursor of another kind of list is refused. */
export function cursorId<Prefix extends string>(prefix: Prefix, cursor: string | null): `${Prefix}_${string}` | null {
  if (cursor === null) return null;
  if (!isId(prefix, cursor)) {
    throw new ProblemError(
      "invalid_request",
      "`cursor` is not one this list gave. Use the `nextCursor` of the page before.",
    );
  }
  return cursor;
}
