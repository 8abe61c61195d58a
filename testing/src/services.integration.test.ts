import pg from "pg";
import { expect, test } from "vitest";
import { createEmptyDatabase, createTestDatabase } from "./postgres.ts";
import { startRedis } from "./redis.ts";

async function tablesOf(url: string): Promise<number> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'");
  await client.end();
  return rows.length;
}

test("a test database is migrated, an empty one is not, and both are gone after drop", async () => {
  const [migrated, empty] = await Promise.all([createTestDatabase(), createEmptyDatabase()]);
  expect(await tablesOf(migrated.ownerUrl)).toBeGreaterThan(0);
  expect(await tablesOf(empty.ownerUrl)).toBe(0);
  await Promise.all([migrated.drop(), empty.drop()]);
  await expect(tablesOf(migrated.ownerUrl)).rejects.toThrow("does not exist");
});

test("a killed Redis can be started again on its port", async () => {
  const redis = await startRedis();
  await redis.kill();
  await redis.restart();
  redis.freeze();
  redis.thaw();
  await redis.stop();
});
