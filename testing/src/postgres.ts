/** Databases for tests, from the cluster that `global-setup.ts` starts once per run. */
import { inject } from "vitest";
import { cloneDatabase, emptyDatabase, type TestDatabase } from "./test-cluster.ts";

export type { TestDatabase };

declare module "vitest" {
  export interface ProvidedContext {
    postgresTemplateUrl: string;
  }
}

/** A migrated database of its own for a test file; drop it in `afterAll`, once everything that uses it is closed. */
export function createTestDatabase(): Promise<TestDatabase> {
  return cloneDatabase(inject("postgresTemplateUrl"));
}

/** A database that was never migrated. */
export function createEmptyDatabase(): Promise<TestDatabase> {
  return emptyDatabase(inject("postgresTemplateUrl"));
}
