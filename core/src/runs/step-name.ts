/** `step-3` → 3; -1 for what stands outside a step. */
export function stepIndexOf(stepName: string | null): number {
  return stepName === null ? -1 : Number(stepName.slice("step-".length));
}
