import { setTimeout as delay } from "node:timers/promises";
import type { Ctx } from "@agent-engine/core/context.ts";
import { isPermanent } from "@agent-engine/core/db/permanent-error.ts";
import { inTenant } from "@agent-engine/core/db/transaction.ts";
import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import type { RunLog } from "@agent-engine/core/events/run-log.ts";
import type { Claim } from "@agent-engine/core/runs/claim-run.ts";
import type { Prices } from "@agent-engine/core/models/prices.ts";
import { stepIndexOf } from "@agent-engine/core/runs/step-name.ts";
import { isStepRecorded } from "@agent-engine/core/runs/is-step-recorded.ts";
import {
  beginInvocation,
  closeStepsBefore,
  finishInvocation,
  recordFailedAttempt,
  recordToolStep,
} from "@agent-engine/core/runs/tool-steps.ts";
import { isFailedAttempt } from "@agent-engine/core/toolkits/failure-table.ts";
import type { WorkerLease } from "@agent-engine/core/workers/worker-registry.ts";
import type { TokenUsage } from "@agent-engine/protocol/events.ts";
import { RunAbandoned, type EngineEffects } from "./engine/effects.ts";
import { priced } from "./run-spending.ts";
import { storeOnce } from "./store-once.ts";

/** What the end of a run is written from; kept up to date on the way. */
export interface RunProgress {
  /** The assistant's messages so far, by id: each becomes a row. */
  texts: Map<string, string>;
  /** The step the engine is in, and the message that stands in it. */
  stepIndex: number | null;
  stepMessageId: string | null;
  /** Usage of the model turns that asked for tools; theirs is recorded with their steps. */
  recordedUsage: TokenUsage[];
}

const STORE_RETRY_MS = 200;

/** The engine's effects on the real world: the log, the steps' rows, this worker's lease. */
export function createRunEffects(deps: {
  ctx: Ctx;
  claim: Claim;
  log: RunLog;
  lease: WorkerLease;
  progress: RunProgress;
  prices: Prices;
  /** Aborted when the run is no longer this worker's. */
  signal: AbortSignal;
}): EngineEffects {
  const { ctx, claim, log, lease, progress, prices, signal } = deps;
  const { texts } = progress;
  const { conversationId, runId, epoch } = claim;
  const { services } = ctx;

  function assertLease(): void {
    if (log.lost) throw log.lost;
    if (!lease.isHeld()) throw new RunAbandoned("its worker's heartbeat is too old");
  }

  /**
   * Tries for as long as the lease is held: what a tool did must not be forgotten for a lost connection. Where only the
   * answer was lost, a result cannot be written again: the run is given up, and whoever goes on finds it.
   */
  async function store(write: () => Promise<boolean>): Promise<void> {
    for (;;) {
      try {
        if (!(await write())) throw new LeaseLost(runId);
        return;
      } catch (error) {
        if (error instanceof LeaseLost || isPermanent(error)) throw error;
        services.log.warn({ err: error, runId }, "a tool call's record is tried again");
      }
      await delay(STORE_RETRY_MS);
      assertLease();
    }
  }

  return {
    emit(event, audience) {
      if (event.type === "TEXT_MESSAGE_CONTENT")
        texts.set(event.messageId, (texts.get(event.messageId) ?? "") + event.delta);
      else if (event.type === "CUSTOM" && event.name === "run.superseded") {
        for (const id of event.value.messageIds) texts.delete(id);
      } else if (event.type === "TEXT_MESSAGE_START") progress.stepMessageId = event.messageId;
      else if (event.type === "STEP_STARTED") {
        progress.stepIndex = stepIndexOf(event.stepName);
        progress.stepMessageId = null;
      }
      log.emit(event, audience);
    },
    flush: () => log.flush(),
    async recordToolStep(turn) {
      if (turn.usage) progress.recordedUsage.push(turn.usage);
      const step = { ...turn, usage: turn.usage && priced(prices, turn.usage) };
      const wasStored = () => isStepRecorded(ctx, { conversationId, runId, epoch, index: step.index });
      await log.takeOver([], ({ fence, events }) => {
        const write = () =>
          inTenant(services.db, ctx.tenantId, async (tx) => {
            // Its append locks the head, which comes first, as in every other writer.
            await recordToolStep(ctx, tx, { conversationId, runId, fence, events, step });
            await closeStepsBefore(tx, runId, step.index);
          });
        return storeOnce({ write, wasStored, log: services.log, signal });
      });
    },
    async beginInvocation(invocation) {
      assertLease();
      const { idempotencyKey } = invocation;
      await store(() => beginInvocation(ctx, { idempotencyKey, conversationId, epoch }));
      assertLease();
    },
    async recordFailure({ idempotencyKey }, failed) {
      await recordFailedAttempt(ctx, { idempotencyKey, failed, conversationId, epoch }).catch((error: unknown) =>
        services.log.warn({ err: error, runId }, "why an attempt failed was not kept"),
      );
    },
    async recordResult(invocation, outcome) {
      const { idempotencyKey } = invocation;
      const { status } = outcome;
      const failed = "failure" in outcome && isFailedAttempt(outcome.failure) ? outcome.failure : null;
      const reusedFrom = "reused" in outcome && outcome.reused ? outcome.reused.key : null;
      await store(() =>
        finishInvocation(ctx, { idempotencyKey, status, outcome, reusedFrom, failed, conversationId, epoch }),
      );
    },
    assertLease,
    now: services.clock,
    newId: services.newId,
    sleep: wait,
    random: Math.random,
  };
}

/** Resolves after `ms` or when the signal aborts: most waits are aborted, and an error for each would be dear. */
function wait(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
