import type { Database } from "./invariants.ts";

/**
 * Where a word stands in the database: every row of every table of every schema is read as text, in any case, and what is
 * kept as bytes as their hexadecimal digits. Answers `table: row`, cut.
 */
export async function findInDatabase(db: Database, words: readonly string[]): Promise<string[]> {
  const { rows: tables } = await db.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'm') and n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') order by 1`,
  );
  if (tables.length < 20) throw new Error("these are not all tables");
  const found: string[] = [];
  for (const { name } of tables) {
    const { rows } = await db.query<{ row: string }>(
      `select left(t::text, 400) as row from ${name} t
       where exists (select 1 from unnest($1::text[]) word
         where strpos(lower(t::text), lower(word)) > 0 or strpos(t::text, encode(convert_to(word, 'UTF8'), 'hex')) > 0)`,
      [words],
    );
    for (const { row } of rows) found.push(`${name}: ${row}`);
  }
  return found;
}
