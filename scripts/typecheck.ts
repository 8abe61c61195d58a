/** `npm run typecheck`: every tsconfig of the repository, each for the world its files run in (Node, browser, both). */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "./run-program.ts";

const ROOT = join(import.meta.dirname, "..");

export function typeScriptProjects(): string[] {
  const folders = readdirSync(ROOT, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const own = folders.map((entry) => join(entry.name, "tsconfig.json"));
  return ["tsconfig.json", ...own].filter((file) => existsSync(join(ROOT, file)));
}

if (import.meta.main) {
  for (const project of typeScriptProjects()) {
    const { code } = await runProgram(join(ROOT, "node_modules/.bin/tsc"), ["-p", project], ROOT, { show: true });
    if (code !== 0) process.exitCode = 1;
  }
}
