import { createHash } from "node:crypto";

/** Deterministic, so that every attempt of a call, in whichever worker, carries the same key and no other call does. */
export function invocationKey(runId: string, stepIndex: number, callIndex: number): string {
  return createHash("sha256").update(`${runId}:${stepIndex}:${callIndex}`).digest("hex");
}
