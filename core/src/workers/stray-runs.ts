import type { RunId } from "@agent-engine/protocol/ids.ts";
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

/** What a worker executes, and how to make it stop. */
export interface Executing {
  runId: string;
  stop(): void;
}

/**
 * Compares every second what a worker executes with what the database says it holds, both ways.
 *
 * Held and not known: the answer to a claim was lost, or a run was dropped while Postgres could not be told. The worker
 * lives, so nobody else would ever find it: it is given back. Executed and not held: it was cancelled and the bus did
 * not say so. A silent model would never let the worker find out by writing: it is stopped.
 *
 * `isKnown` must hold from before a run is claimed until after it was given back.
 */
export function watchStrays(
  services: Pick<Services, "db" | "log">,
  workerUuid: string,
  isKnown: (runId: string) => boolean,
  executing: () => readonly Executing[],
): Repeated {
  const { db, log } = services;
  return repeat(log, STRAYS_MS, async () => {
    // From before the question: what is claimed meanwhile is not in its answer.
    const mine = executing();
    const held = await db.query(ofWorker, [workerUuid]);
    const heldIds = new Set(held.map((row) => idOf("run", row.run_id)));
    for (const { runId, stop } of mine) if (!heldIds.has(runId as RunId)) stop();
    for (const row of held) {
      const runId = idOf("run", row.run_id);
      if (isKnown(runId)) continue;
      log.warn({ runId }, "run held and not executed: given back");
      await releaseLease(services, {
        tenantId: idOf("tenant", row.tenant_id),
        conversationId: idOf("conv", row.conversation_id),
        runId,
        epoch: row.epoch,
        workerUuid,
        isOrderly: false,
      });
    }
  });
}
