import { STUCK } from "../watchdog/shared.ts";

/** Why a process ended, for the person who wants to know what is wrong with a run. */
export function exitReason(code: number | null, signal: NodeJS.Signals | null, lastLines: readonly string[]): string {
  if (lastLines.some((line) => line.includes("heap out of memory"))) return "it ran out of memory";
  if (lastLines.some((line) => line.includes(STUCK))) return "it did not come to an end, with a processor to itself";
  if (signal === "SIGKILL") return "it was killed (SIGKILL), as a system does that is out of memory";
  return signal === null ? `it ended with exit code ${code}` : `it was ended by ${signal}`;
}
