import type { TestProject } from "vitest/node";
import { startTestCluster } from "./test-cluster.ts";

/** Vitest runs it once before the files of a project; what it returns is run after the last one. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const cluster = await startTestCluster();
  project.provide("postgresTemplateUrl", cluster.templateUrl);
  return () => cluster.stop();
}
