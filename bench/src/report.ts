import { isMet, type Figure } from "./figure.ts";

/** A readable table: each figure, the raw one beside it (`baseline` says what that is), and how it stands to its goals. */
export function table(figures: readonly Figure[], baseline = "model alone"): string {
  const rows = [
    ["", "measured", baseline, "ratio", "must", "aim"],
    ...figures.map((figure) => [
      figure.name,
      `${show(figure.value)} ${figure.unit}`.trim(),
      show(figure.raw),
      figure.ratio === null ? "" : `${show(figure.ratio)}×`,
      goal(figure, figure.must),
      goal(figure, figure.aim),
    ]),
  ];
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join("  "),
    )
    .join("\n");
}

function show(value: number | null): string {
  if (value === null) return "";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return Number.isInteger(value) ? String(value) : value.toFixed(digits);
}

function goal(figure: Figure, limit: number | null): string {
  if (limit === null) return "";
  return `${figure.better === "lower" ? "≤" : "≥"} ${show(limit)} ${isMet(figure, limit) ? "✓" : "✗"}`;
}
