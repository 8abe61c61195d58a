/** The outcomes as a table for a terminal, and below it why something failed. */
import { INVARIANTS, type FigureOutcome, type Outcome } from "./trial.ts";

export function chaosTable(outcomes: readonly Outcome[]): string {
  const rows = [
    ["", "experiment", "rounds", "operations", "succeeded", "faults fired", ...INVARIANTS, "s", "", "figures"],
    ...outcomes.map((outcome) => [
      outcome.id,
      outcome.title,
      String(outcome.rounds),
      String(outcome.operations.all),
      succeeded(outcome),
      String(Object.values(outcome.faults).reduce((sum, count) => sum + count, 0)),
      ...INVARIANTS.map((name) => (outcome.invariants[name] === 0 ? "✓" : `✗ ${outcome.invariants[name]}`)),
      outcome.seconds.toFixed(1),
      outcome.passed ? "passed" : "FAILED",
      outcome.figures.map(figure).join("; "),
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const lines = rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  );
  const complaints = outcomes
    .filter(({ passed }) => !passed)
    .flatMap(({ id, complaints }) => complaints.map((line) => `${id}: ${line}`));
  return [...lines, ...(complaints.length > 0 ? ["", ...complaints] : [])].join("\n");
}

function succeeded({ operations }: Outcome): string {
  if (operations.all === 0) return "–";
  return `${((100 * operations.succeeded) / operations.all).toFixed(1)} %`;
}

function figure({ name, unit, n, p50, p99, max, isWithinLimit }: FigureOutcome): string {
  const mark = isWithinLimit === null ? "" : isWithinLimit ? " ✓" : " ✗";
  if (n === 0) return `${name}: none${mark}`;
  const unitText = unit === "" ? "" : ` ${unit}`;
  const said = n === 1 ? `${max}${unitText}` : `p50 ${p50}, p99 ${p99}, max ${max}${unitText}`;
  return `${name}: ${said}${mark}`;
}
