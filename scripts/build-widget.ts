/**
 * Builds the widget's files, which the server serves from `widget/dist/`: in development when a source is newer than
 * the last build, in production (an image is built once, its files carry any date) when they are not there.
 */
import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runProgram } from "./run-program.ts";
import { StartFailure } from "./start-failure.ts";

const ROOT = join(import.meta.dirname, "..");
const STAMP = join(ROOT, "widget", "dist", ".built");
const SOURCES = ["widget", "sdk-js", "protocol"].map((folder) => join(ROOT, folder));
const NOT_SOURCES = new Set(["dist", "node_modules"]);

/** Of files and folders: a folder changes when a file in it is deleted. */
function newestChangeMs(folder: string): number {
  let newest = statSync(folder).mtimeMs;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (NOT_SOURCES.has(entry.name)) continue;
    const path = join(folder, entry.name);
    newest = Math.max(newest, entry.isDirectory() ? newestChangeMs(path) : statSync(path).mtimeMs);
  }
  return newest;
}

function isBuilt(): boolean {
  if (!existsSync(STAMP)) return false;
  const builtMs = statSync(STAMP).mtimeMs;
  // The build makes `widget/dist`, which changes the folder `widget` itself, before it writes the stamp.
  return SOURCES.every((folder) => newestChangeMs(folder) <= builtMs);
}

/** @throws StartFailure with what the build said. */
export async function buildWidget(
  need: "when changed" | "when missing",
  say: (message: string) => void,
): Promise<void> {
  if (need === "when missing" ? existsSync(STAMP) : isBuilt()) return;
  say("Building the widget …");
  const { code, output } = await runProgram("npm", ["run", "--silent", "build", "--workspace", "widget"], ROOT);
  if (code !== 0) throw new StartFailure(`The widget could not be built:\n${output}`);
  writeFileSync(STAMP, "");
}

if (import.meta.main) await buildWidget("when changed", console.log);
