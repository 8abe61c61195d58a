/** A figure of a benchmark: what was measured, beside what, and how it stands to its goals. */
import { round } from "./statistics.ts";

export interface Figure {
  name: string;
  value: number;
  unit: string;
  /** The same, measured on the model without us in this run; null where there is no such thing. */
  raw: number | null;
  /** `value / raw`: for overheads `(raw + value) / raw`. */
  ratio: number | null;
  /** What must be reached, and what is aimed at: `≤` or `≥` by `better`. */
  must: number | null;
  aim: number | null;
  better: "lower" | "higher";
}

export function isMet(figure: Figure, goal: number): boolean {
  return figure.better === "lower" ? figure.value <= goal : figure.value >= goal;
}

type Goal = Omit<Figure, "value">;

export function lower(name: string, unit: string, must: number | null = null, aim: number | null = null): Goal {
  return { name, unit, must, aim, better: "lower", raw: null, ratio: null };
}

export function higher(name: string, unit: string, must: number | null = null, aim: number | null = null): Goal {
  return { ...lower(name, unit, must, aim), better: "higher" };
}

export function overhead(product: number, raw: number): Pick<Figure, "value" | "raw" | "ratio"> {
  return { value: round(product - raw), raw, ratio: round(product / raw) };
}

export function against(value: number, raw: number): Pick<Figure, "value" | "raw" | "ratio"> {
  return { value, raw, ratio: round(value / raw) };
}
