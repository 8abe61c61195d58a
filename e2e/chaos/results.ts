/** What a run found, as JSON beside the table: `full.json` is kept in the repository, the others are local. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import type { Outcome } from "./trial.ts";

const FOLDER = join(import.meta.dirname, "results");

export interface ChaosResult {
  seed: number;
  /** Whether it is every experiment at its full size. */
  isFull: boolean;
  outcomes: readonly Outcome[];
  /** Of a result that was put together: the runs it is from. */
  parts?: readonly Part[];
}

export interface Part {
  /** When its result was saved. */
  at: string;
  /** Their ids. */
  experiments: readonly string[];
}

/** A file's content. */
export interface SavedResult {
  /** ISO 8601 UTC, at its end. */
  at: string;
  seed: number;
  machine: ReturnType<typeof thisMachine>;
  passed: boolean;
  outcomes: readonly Outcome[];
  parts?: readonly Part[];
}

export function thisMachine() {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? "unknown",
    memoryGb: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
  };
}

/** Answers the file's path. */
export function saveResult({ seed, isFull, outcomes, parts }: ChaosResult): string {
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, isFull ? "full.json" : "latest.local.json");
  const result: SavedResult = {
    at: new Date().toISOString(),
    seed,
    machine: thisMachine(),
    passed: outcomes.every(({ passed }) => passed),
    outcomes,
    ...(parts ? { parts } : {}),
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
