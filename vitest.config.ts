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
const FIXED_SEED = ["testing/src/fixed-seed.ts"];
const LONG = ["e2e/**/*.long.test.ts", ...beside("*.long.test.ts")];

/**
 * Three projects, by what they need: nothing (unit), Postgres and Redis (integration), and those plus whole processes
 * and a browser (browser); and `long`, for what takes too long to run with every change. Two workers suit the two cores of a small CI machine.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          setupFiles: FIXED_SEED,
          include: beside("*.test.ts"),
          exclude: [...NEVER, ...beside("*.integration.test.ts"), ...beside("*.browser.test.ts"), ...LONG],
          testTimeout: 10_000,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          setupFiles: FIXED_SEED,
          include: beside("*.integration.test.ts"),
          exclude: [...NEVER, ...LONG],
          globalSetup: ["testing/src/global-setup.ts"],
          testTimeout: 30_000,
          hookTimeout: 60_000,
        },
      },
      {
        extends: true,
        test: {
          name: "browser",
          setupFiles: FIXED_SEED,
          include: ["e2e/**/*.test.ts", ...beside("*.browser.test.ts")],
          exclude: [...NEVER, ...LONG],
          globalSetup: ["testing/src/global-setup.ts"],
          maxWorkers: 1,
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: "long",
          include: LONG,
          exclude: NEVER,
          globalSetup: ["testing/src/global-setup.ts"],
          maxWorkers: 1,
          testTimeout: 3_600_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
