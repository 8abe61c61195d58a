/** What the code says about the tables, held against the tables. */
import { globSync } from "node:fs";
import { join } from "node:path";
import type { EntityName } from "@mikro-orm/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSpine, type Spine } from "@agent-engine/testing/spine.ts";
import { entities } from "./entities/entities.ts";
import { declaredStatements } from "./statement.ts";

let spine: Spine;
beforeAll(async () => {
  spine = await openSpine();
});
afterAll(() => spine.close());

interface Column {
  name: string;
  type: string;
  nullable: boolean;
}

async function columnsOf(table: string): Promise<Column[]> {
  const { rows } = await spine.owner.query<Column>(
    `select attname as name, format_type(atttypid, atttypmod) as type, not attnotnull as nullable
     from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped order by attnum`,
    [`public.${table}`],
  );
  return rows;
}

/** Types of ours that a column of another type holds as well. */
const FITTING: Record<string, RegExp> = {
  "timestamptz(3)": /^timestamp\(3\) with time zone$/,
  int: /^integer$/,
  "varchar(255)": /^text$/,
};

describe("entities", () => {
  test.each(entities.map((entity): [string, EntityName] => [entity.name, entity]))(
    "%s is mapped to its table, column for column",
    async (_name, entity) => {
      const orm = await spine.services.db.orm();
      const meta = orm.getMetadata().get(entity);
      const columns = await columnsOf(meta.tableName);
      const mapped = meta.props.map((prop) => {
        const column = columns.find(({ name }) => name === prop.fieldNames[0]);
        const ours = prop.columnTypes[0] ?? "";
        const isFitting = column !== undefined && (FITTING[ours]?.test(column.type) ?? ours === column.type);
        return {
          column: prop.fieldNames[0],
          type: isFitting ? column.type : `${ours} for ${column?.type}`,
          nullable: prop.nullable ?? false,
        };
      });
      expect(mapped.toSorted(byColumn)).toEqual(
        columns.map(({ name, type, nullable }) => ({ column: name, type, nullable })).toSorted(byColumn),
      );
    },
  );
});

function byColumn(a: { column?: string }, b: { column?: string }): number {
  return (a.column ?? "").localeCompare(b.column ?? "");
}

test("every statement is one the serving role may run on these tables", async () => {
  const root = join(import.meta.dirname, "..");
  const modules = globSync("**/*.ts", { cwd: root, exclude: ["**/*.test.ts"] });
  await Promise.all(modules.map((module) => import(join(root, module)) as Promise<unknown>));
  const statements = declaredStatements();
  expect(statements.size).toBeGreaterThan(30);
  const client = await spine.services.db.pool.connect();
  try {
    for (const [name, text] of statements) {
      const failed = await client.query(`prepare "check ${name}" as ${text}`).then(
        () => null,
        (error: Error) => error.message,
      );
      expect([name, failed]).toEqual([name, null]);
    }
  } finally {
    client.release(true);
  }
});
