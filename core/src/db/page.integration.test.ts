import { afterAll, beforeAll, expect, test } from "vitest";
import { createTestDatabase, type TestDatabase } from "@agent-engine/testing/postgres.ts";
import pg from "pg";
import "../conversations/list-conversations.ts";
import "../runs/list-runs.ts";
import { declaredStatements } from "./statement.ts";

let database: TestDatabase;
let owner: pg.Client;

beforeAll(async () => {
  database = await createTestDatabase();
  owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  // As the product's connections are.
  await owner.query("set enable_seqscan = off");
});

afterAll(async () => {
  await owner?.end();
  await database?.drop();
});

test.each(["conversations_of_tenant", "conversations_of_visitor", "runs_of_tenant", "runs_of_conversation"])(
  "%s: a page far down the list is found by the index, not by reading what is above it",
  async (name) => {
    const text = declaredStatements().get(name) ?? "";
    const { rows } = await owner.query<{ "QUERY PLAN": string }>(`explain (generic_plan, costs off) ${text}`);
    const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
    expect(plan).toMatch(/Index Cond: .*\bid < \$2/);
  },
);
