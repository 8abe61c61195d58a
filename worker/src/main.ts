/** The worker process's part: answers doorbells, executes runs, dispatches and sweeps. */
import type { Config } from "@agent-engine/core/config/env.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import type { Backlog } from "@agent-engine/core/queue/backlog.ts";
import { startDispatcher } from "@agent-engine/core/queue/dispatcher.ts";
import { QUEUE_CLASSES, type Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import { createOutbox } from "@agent-engine/core/queue/outbox.ts";
import { repeat } from "@agent-engine/core/repeat.ts";
import { watchHouse } from "@agent-engine/core/retention/keep-house.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { watchSchedules } from "@agent-engine/core/schedules/start-due-schedules.ts";
import { watchInterrupts } from "@agent-engine/core/runs/expire-interrupts.ts";
import { createServiceRecord } from "@agent-engine/core/workers/service-times.ts";
import { watchMasterKeys } from "@agent-engine/core/secrets/rewrap-data-keys.ts";
import { reportCircuits } from "@agent-engine/core/toolkits/health/report-circuits.ts";
import { watchStrays } from "@agent-engine/core/workers/stray-runs.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import { RunAbandoned } from "./engine/effects.ts";
import type { ModelProvider } from "./engine/model-provider.ts";
import { defaultRetryPolicy, type RetryPolicy } from "./engine/retry-policy.ts";
import { executeRun, type ExecuteDeps } from "./execute-run.ts";
import { createSlots } from "./slots.ts";
import { createQuarantine } from "./quarantine/quarantine.ts";
import { createUnanswered } from "./unanswered.ts";
import { within } from "./within.ts";
import { openWorld, type World } from "./world.ts";

export interface WorkerOptions {
  services: Services;
  config: Pick<Config, "nodeEnv" | "workerConcurrency"> &
    Partial<Pick<Config, "workerStuckSeconds" | "backgroundConcurrency" | "tenantConcurrency" | "composio">>;
  /** How often and how long models and tools are tried again. */
  retryPolicy?: RetryPolicy;
  /** A model's longest silence. */
  stall?: ModelProvider["stall"];
  /** What runs reach outside; the real one by default. */
  world?: World;
}

export interface RunningWorker {
  readonly activeRuns: number;
  /**
   * Takes no new run, lets runs end for `drainMs`, then hands the others over to whoever is left. Takes a second more
   * at most, whatever does not answer.
   */
  stop(options?: { drainMs?: number }): Promise<void>;
}

/** Doorbells answered at once a class; each only claims its run and starts it. */
const DOORBELLS_AT_ONCE = 16;
const DRAIN_MS = 2_000;
/** For a run to be given back, and for everything else that may be stuck. */
const HAND_OVER_MS = 250;
const DEFAULT_STUCK_SECONDS = 10;
const ACCOUNTS_EVERY_MS = 60_000;

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { services, config } = options;
  // Runs wait for models and tools most of the time, so hundreds at once are usual.
  const size = config.workerConcurrency;
  const background = config.backgroundConcurrency ?? size;
  const slots = createSlots({ size, background, onRoom: () => dispatcher?.look() });
  const served = createServiceRecord();
  const lease = await registerWorker(services, {
    slots: size,
    active: () => slots.active,
    background: { slots: background, active: () => slots.activeOf("standard") },
    tenantRuns: config.tenantConcurrency ?? null,
    served: served.times,
  });
  const world = options.world ?? openWorld(services, config, options.stall ? { stall: options.stall } : {});
  const circuits = reportCircuits(services, lease.uuid);
  world.onCircuit?.(circuits.changed);
  const retryPolicy = options.retryPolicy ?? defaultRetryPolicy;
  const quarantine = createQuarantine(services, {
    nodeEnv: config.nodeEnv,
    ...(config.composio ? { composio: config.composio } : {}),
    logLevel: services.log.level,
    stuckSeconds: config.workerStuckSeconds ?? DEFAULT_STUCK_SECONDS,
    retryPolicy,
    stall: options.stall ?? null,
  });
  const appender = createAppender(services);
  const running = new Map<string, AbortController>();
  const claiming = new Set<string>();
  const outbox = createOutbox(services.db);
  const unanswered = createUnanswered(outbox);
  let dispatcher: Backlog | null = null;
  const deps: ExecuteDeps = {
    services,
    appender,
    lease,
    agentOf: createAgentConfigReader(services),
    modelOf: world.modelOf,
    toolsOf: world.toolsOf,
    spendingOf: world.spendingOf,
    retryPolicy,
  };

  async function answer(queueClass: QueueClass, doorbell: Doorbell): Promise<void> {
    const release = slots.take(queueClass);
    if (!release) {
      // It waits where the order is fair, for whoever has a place first.
      await outbox.putBack(doorbell).catch((error: unknown) => {
        unanswered.add(doorbell);
        throw error;
      });
      return lease.report();
    }
    const takenMs = performance.now();
    claiming.add(doorbell.runId);
    try {
      const claim = await claimRun(services, doorbell, lease.uuid);
      if (!claim) return release();
      if (claim.kind === "suspect") {
        quarantine.take(doorbell);
        return release();
      }
      const abort = new AbortController();
      running.set(claim.runId, abort);
      void executeRun(deps, claim, abort).finally(() => {
        if (running.get(claim.runId) === abort) running.delete(claim.runId);
        served.add(queueClass, performance.now() - takenMs);
        release();
        dispatcher?.ended();
      });
    } catch (error) {
      release();
      unanswered.add(doorbell);
      throw error;
    } finally {
      claiming.delete(doorbell.runId);
    }
  }

  const leaveControl = await services.bus.control.subscribe((message) => {
    if (message.kind !== "run.cancelled") return;
    running.get(message.runId)?.abort(new RunAbandoned("it was cancelled"));
  });
  const listeners = await Promise.all(
    QUEUE_CLASSES.map((queueClass) =>
      services.queue.listen(queueClass, DOORBELLS_AT_ONCE, (doorbell) => answer(queueClass, doorbell)),
    ),
  );
  const backlog = startDispatcher(services, { uuid: lease.uuid, turns: slots.turns, answer, onIdle: lease.report });
  dispatcher = backlog;
  const strays = watchStrays(
    services,
    lease.uuid,
    (runId) => running.has(runId) || claiming.has(runId),
    () =>
      [...running].map(([runId, abort]) => ({
        runId,
        stop: () => abort.abort(new RunAbandoned("it was cancelled, or is another worker's")),
      })),
  );

  const masterKeys = watchMasterKeys(services);

  const house = watchHouse(services);

  const waits = watchInterrupts(services);
  const schedules = watchSchedules(services);
  const accounts = repeat(services.log, ACCOUNTS_EVERY_MS, async () => world.checkAccounts?.());

  return {
    get activeRuns() {
      return slots.active;
    },
    async stop({ drainMs = DRAIN_MS } = {}) {
      slots.close();
      unanswered.stop();
      // A broker that is gone answers no goodbye, and the runs must be given back all the same.
      const listening = Promise.allSettled(listeners.map((listener) => listener.stop()));
      await within(drainMs, Promise.all([listening, slots.empty(), quarantine.stop(drainMs)]));
      for (const abort of running.values()) abort.abort(new RunAbandoned("its worker stops"));
      await within(HAND_OVER_MS, slots.empty());
      // Whoever still has a run, in a tool that hears no signal, has no lease any more: it left in good order.
      circuits.stop();
      await within(HAND_OVER_MS, lease.stop());
      leaveControl();
      await within(
        HAND_OVER_MS,
        Promise.all([
          appender.idle(),
          backlog.stop(),
          strays.stop(),
          house.stop(),
          waits.stop(),
          schedules.stop(),
          accounts.stop(),
          masterKeys.stop(),
          world.close(),
        ]),
      );
    },
  };
}
