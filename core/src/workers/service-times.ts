import type { QueueClass } from "@agent-engine/protocol/resources.ts";

/** How long the last runs of each class held their places, in milliseconds. */
export type ServiceTimes = Readonly<Record<QueueClass, readonly number[]>>;

/** Enough for a mean that follows a change within minutes. */
const KEPT = 64;
const LONGEST_MS = 24 * 3_600_000;

export interface ServiceRecord {
  readonly times: ServiceTimes;
  add(queueClass: QueueClass, heldMs: number): void;
}

export function createServiceRecord(): ServiceRecord {
  const times: Record<QueueClass, number[]> = { priority: [], standard: [] };
  return {
    times,
    add(queueClass, heldMs) {
      times[queueClass].push(Math.round(Math.min(heldMs, LONGEST_MS)));
      if (times[queueClass].length > KEPT) times[queueClass].shift();
    },
  };
}
