import type { Services } from "../context.ts";
import { statement } from "../db/statement.ts";
import { idOf } from "../ids.ts";
import { repeat, type Repeated } from "../repeat.ts";
import { releaseLease } from "../runs/release-lease.ts";

const STRAYS_MS = 1_000;

const ofWorker = statement<{ run_id: string; tenant_id: string; conversation_id: string; epoch: number }>(
  "runs_of_worker",
  "select * from runs_of_worker($1)",
);

/**
 * Gives back what the database says this worker holds and the worker knows nothing of: the answer to a claim was lost,
 * or a run was dropped while Postgres could not be told. The worker lives, so nobody else would ever find it.
 *
 * `isKnown` must hold from before a run is claimed until after it was given back. Answers the runs given back.
 */
export async function releaseStrays(
  services: Pick<Services, "db" | "log">,
  workerUuid: string,
  isKnown: (runId: string) => boolean,
): Promise<string[]> {
  const held = await services.db.query(ofWorker, [workerUuid]);
  const strays = held.filter((row) => !isKnown(idOf("run", row.run_id)));
  for (const row of strays) {
    const runId = idOf("run", row.run_id);
    services.log.warn({ runId }, "run held and not executed: given back");
    await releaseLease(services, {
      tenantId: idOf("tenant", row.tenant_id),
      conversationId: idOf("conv", row.conversation_id),
      runId,
      epoch: row.epoch,
      workerUuid,
      isOrderly: false,
    });
  }
  return strays.map((row) => idOf("run", row.run_id));
}

/** Does so every second. */
export function watchStrays(
  services: Pick<Services, "db" | "log">,
  workerUuid: string,
  isKnown: (runId: string) => boolean,
): Repeated {
  return repeat(services.log, STRAYS_MS, async () => {
    await releaseStrays(services, workerUuid, isKnown);
  });
}
