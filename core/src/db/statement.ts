import type { QueryResultRow } from "pg";

/** A named statement: Postgres parses and plans it once a connection. `Row` is the shape of its rows. */
export interface Statement<Row extends QueryResultRow = QueryResultRow> {
  name: string;
  text: string;
  /** Only there to carry the type. */
  row?: Row;
}

const names = new Map<string, string>();

/** Declares a statement; names are global to a connection, so two texts under one name are a programming error. */
export function statement<Row extends QueryResultRow = QueryResultRow>(name: string, text: string): Statement<Row> {
  const known = names.get(name);
  if (known !== undefined && known !== text) throw new Error(`two statements are named ${name}`);
  names.set(name, text);
  return { name, text };
}

/** Every statement of the modules loaded so far, by name. */
export function declaredStatements(): ReadonlyMap<string, string> {
  return names;
}
