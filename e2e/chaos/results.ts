/** What a run found, as JSON beside the table: `full.json` is kept in the repository, the others are local. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Outcome } from "./trial.ts";

const FOLDER = join(import.meta.dirname, "results");

export interface ChaosResult {
  seed: number;
  /** Whether it was every experiment at its full size. */
  isFull: boolean;
  outcomes: readonly Outcome[];
}

/** Answers the file's path. */
export function saveResult({ seed, isFull, outcomes }: ChaosResult): string {
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, isFull ? "full.json" : "latest.local.json");
  const machine = {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? "unknown",
    memoryGb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
  const result = {
    at: new Date().toISOString(),
    seed,
    machine,
    passed: outcomes.every(({ passed }) => passed),
    outcomes,
  };
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}

/** For whoever has to find out why: what every process printed. Answers the folder. */
export function saveLogs(logs: ReadonlyMap<string, string>): string {
  const folder = join(FOLDER, "logs.local");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of logs) writeFileSync(join(folder, `${name.replaceAll(" ", "-")}.log`), text);
  return folder;
}
