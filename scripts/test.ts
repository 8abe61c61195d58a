/**
 * `npm test`: everything that has to hold, in one run. Its last line is `N passed, N failed, N skipped`, the sum of all
 * tests and of the checks, which count one each. `--long` runs instead what takes too long for every change.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VARIABLES } from "@agent-engine/core/config/variables.ts";
import { requireProgram } from "@agent-engine/testing/programs.ts";
import { buildWidget } from "./build-widget.ts";
import { runProgram } from "./run-program.ts";
import { typeScriptProjects } from "./typecheck.ts";
import { countsOf, readReport, sum, type Counts } from "./vitest-counts.ts";

interface Stage {
  name: string;
  run: () => Promise<Counts>;
}

const ROOT = join(import.meta.dirname, "..");
const bin = (name: string) => join(ROOT, "node_modules", ".bin", name);

/** The person's own settings would change what the tests see. */
const env = {
  ...Object.fromEntries(Object.keys(VARIABLES).map((name) => [name, undefined])),
  ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : { NO_COLOR: "1" }),
};

const once = (ok: boolean): Counts => ({ passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 });

function check(name: string, program: string, ...args: string[]): Stage {
  return {
    name,
    run: async () => once((await runProgram(bin(program), args, ROOT, { env, show: true })).code === 0),
  };
}

function widget(): Stage {
  return {
    name: "build of the widget",
    run: async () => {
      await buildWidget("when changed", console.log);
      return once(true);
    },
  };
}

function tests(project: string, reports: string, ...options: string[]): Stage {
  const file = join(reports, `${project}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  return {
    name: `${project} tests`,
    run: async () => {
      const args = ["run", "--project", project, ...reporters, ...options];
      const { code } = await runProgram(bin("vitest"), args, ROOT, { env, show: true });
      return countsOf(readReport(file), code);
    },
  };
}

function stages(long: boolean, reports: string): Stage[] {
  if (long) return [widget(), tests("long", reports, "--passWithNoTests")];
  return [
    check("lint", "oxlint", "--type-aware", "--deny-warnings"),
    check("format", "oxfmt", "--check"),
    ...typeScriptProjects().map((project) => check(`types of ${project}`, "tsc", "-p", project)),
    check("unused code (knip)", "knip", "--no-progress"),
    widget(),
    tests("unit", reports),
    tests("integration", reports),
    tests("browser", reports),
  ];
}

async function run({ name, run: work }: Stage): Promise<Counts> {
  console.log(`\n── ${name}`);
  const startedAt = performance.now();
  const counts = await work().catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    return once(false);
  });
  console.log(
    `   ${counts.failed === 0 ? "ok" : "FAILED"} in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`,
  );
  return counts;
}

/** Looked for first: whoever lacks one should not wait minutes to hear of it. */
function requirePrograms(): Promise<Counts> {
  console.log(`Redis: ${requireProgram("redis")}\nChromium: ${requireProgram("chromium")}`);
  return Promise.resolve(once(true));
}

async function main(): Promise<void> {
  const reports = mkdtempSync(join(tmpdir(), "agent-engine-test-reports-"));
  process.once("exit", () => rmSync(reports, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));

  const results: Counts[] = [];
  const failed: string[] = [];
  for (const stage of [
    { name: "programs", run: requirePrograms },
    ...stages(process.argv.includes("--long"), reports),
  ]) {
    const counts = await run(stage);
    results.push(counts);
    if (counts.failed > 0) failed.push(stage.name);
    if (stage.run === requirePrograms && counts.failed > 0) break;
  }
  const total = sum(results);
  console.log(failed.length > 0 ? `\nFailed: ${failed.join(", ")}\n` : "");
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

await main();
