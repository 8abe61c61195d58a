import type { Failure, OpenCircuit } from "@agent-engine/core/toolkits/failure.ts";
import { failureOf, type FailureRow } from "@agent-engine/core/toolkits/failure-table.ts";

/** An attempt as its circuit sees it. `unclear`: it says nothing about the other side's health. */
export interface Attempted<End> {
  end: End;
  health: "healthy" | "failed" | "unclear";
  /** Why, when it failed. */
  failure: Failure | null;
}

export type Guarded<End> = { kind: "made"; end: End } | { kind: "open"; circuit: OpenCircuit };

/**
 * Watches the calls that one tenant's runs make to one model or host. After too many failures in a row it is open:
 * nothing is sent for a while, then one call tries.
 */
export interface Circuit {
  /** Makes the attempt unless the circuit is open. Rejects only with what the attempt rejected with. */
  guard<End>(attempt: () => Promise<Attempted<End>>): Promise<Guarded<End>>;
}

/** Passes every attempt. */
export const NO_CIRCUIT: Circuit = {
  async guard(attempt) {
    return { kind: "made", end: (await attempt()).end };
  },
};

/** What a call that was not made is told. `needs_person`: to try again at once would be in vain. */
export function circuitFailure(of: FailureRow["of"], circuit: OpenCircuit, nowMs: number): Failure {
  const { since, retryAt, failures, last } = circuit;
  const detail = `Not sent: ${failures} failures in a row, open since ${since}, tried again at ${retryAt}. The last one was ${last.code}: ${last.detail}`;
  return failureOf(`${of}.circuit_open`, detail, {
    requestId: last.requestId,
    retryAfterMs: Math.max(0, Date.parse(retryAt) - nowMs),
    circuit,
  });
}
