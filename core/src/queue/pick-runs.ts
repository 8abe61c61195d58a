import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import type { Doorbell } from "./run-queue.ts";

const pick = statement<{ run_id: string; hand_over: number; correlation_id: string }>(
  "dispatch_jobs",
  "select * from dispatch_jobs($1, $2, $3)",
);

export interface PickRuns {
  workerUuid: string;
  queueClass: QueueClass;
  /** How many runs of the class the worker could start now. */
  places: number;
}

/**
 * Takes the next of those who wait in a class, in the fair order, for a worker that has places for them. Should it not
 * claim them, the sweeper finds them.
 */
export async function pickRuns(
  services: Pick<Services, "db">,
  { workerUuid, queueClass, places }: PickRuns,
): Promise<Doorbell[]> {
  const rows = await services.db.query(pick, [workerUuid, queueClass, places]);
  return rows.map((row) => ({
    runId: idOf("run", row.run_id),
    handOver: row.hand_over,
    correlationId: row.correlation_id,
  }));
}
