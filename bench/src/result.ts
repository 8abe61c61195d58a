import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "@agent-engine/testing/processes.ts";
import { isMet, type Figure } from "./figure.ts";
import { describeMachine } from "./machine.ts";
import { table } from "./report.ts";

const KEPT_PROBLEMS = 20;
const SHOWN_PROBLEMS = 5;

export interface Result {
  benchmark: string;
  size: "full" | "quick";
  databaseUrl: string;
  figures: readonly Figure[];
  /** What the table's second column is. */
  baseline?: string;
  details: object;
  /** What went wrong, in words; nothing else may have. */
  problems: readonly string[];
}

/** Prints the table and writes `bench/results/<benchmark>.json`; a quick run's figures go to a file that git ignores. */
export async function report(given: Result): Promise<void> {
  const { benchmark, size, figures, details, problems } = given;
  const machine = await describeMachine(given.databaseUrl);
  const result = {
    benchmark,
    size,
    at: new Date().toISOString(),
    machine,
    figures: figures.map((figure) => ({
      ...figure,
      ...(figure.must === null ? {} : { reachesMust: isMet(figure, figure.must) }),
      ...(figure.aim === null ? {} : { reachesAim: isMet(figure, figure.aim) }),
    })),
    details,
    problems: problems.slice(0, KEPT_PROBLEMS),
  };
  const folder = join(REPOSITORY, "bench/results");
  mkdirSync(folder, { recursive: true });
  const file = size === "full" ? `${benchmark}.json` : `${benchmark}.quick.local.json`;
  writeFileSync(join(folder, file), `${JSON.stringify(result, null, 2)}\n`);
  console.log(`\n${table(figures, given.baseline)}\n`);
  console.log(`${JSON.stringify(machine)}\nwritten to bench/results/${file}`);
  for (const problem of problems.slice(0, SHOWN_PROBLEMS)) console.error(`problem: ${problem}`);
}
