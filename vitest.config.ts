import { defineConfig } from "vitest/config";

const EVERYWHERE = [
  "protocol",
  "core",
  "migrations",
  "server",
  "worker",
  "sdk-js",
  "widget",
  "testing",
  "bench",
  "scripts",
];
const beside = (pattern: string) => EVERYWHERE.map((folder) => `${folder}/**/${pattern}`);
const NEVER = ["**/node_modules/**", "**/dist/**", ".data/**"];

/**
 * Three projects, by what they need: nothing (unit), Postgres and Redis (integration), and those plus whole processes
 * and a browser (browser). Two workers suit the two cores of a small CI machine.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: beside("*.test.ts"),
          exclude: [...NEVER, ...beside("*.integration.test.ts"), ...beside("*.browser.test.ts")],
          testTimeout: 10_000,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: beside("*.integration.test.ts"),
          exclude: NEVER,
          globalSetup: ["testing/src/global-setup.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          include: ["e2e/**/*.test.ts", ...beside("*.browser.test.ts")],
          exclude: [...NEVER, "e2e/**/*.long.test.ts"],
          globalSetup: ["testing/src/global-setup.ts"],
          maxWorkers: 1,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
