/** The worker process's part: answers doorbells, executes runs, dispatches and sweeps. */
import type { Config } from "@agent-engine/core/config/env.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import { startDispatcher } from "@agent-engine/core/queue/dispatcher.ts";
import { QUEUE_CLASSES, type Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { watchStrays } from "@agent-engine/core/workers/stray-runs.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import { RunAbandoned } from "./engine/effects.ts";
import type { ModelProvider } from "./engine/model-provider.ts";
import { defaultRetryPolicy, type RetryPolicy } from "./engine/retry-policy.ts";
import { executeRun, type ExecuteDeps } from "./execute-run.ts";
import { createSlots, SlotsClosed } from "./slots.ts";
import { openWorld } from "./world.ts";

export interface WorkerOptions {
  services: Services;
  config: Pick<Config, "nodeEnv" | "workerConcurrency">;
  /** How often and how long models and tools are tried again. */
  retryPolicy?: RetryPolicy;
  /** A model's longest silence. */
  stall?: ModelProvider["stall"];
}

export interface RunningWorker {
  readonly activeRuns: number;
  /** Takes no new run, lets runs end for `drainMs`, then hands the others over to whoever is left. */
  stop(options?: { drainMs?: number }): Promise<void>;
}

/** Doorbells answered at once a class; each only claims its run and starts it. */
const DOORBELLS_AT_ONCE = 16;
const DRAIN_MS = 2_000;

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const { services, config } = options;
  // Runs wait for models and tools most of the time, so hundreds at once are usual.
  const slots = createSlots(config.workerConcurrency);
  const lease = await registerWorker(services, { slots: config.workerConcurrency, active: () => slots.active });
  const world = openWorld(services, config, options.stall ? { stall: options.stall } : {});
  const appender = createAppender(services);
  const running = new Map<string, AbortController>();
  const claiming = new Set<string>();
  const deps: ExecuteDeps = {
    services,
    appender,
    lease,
    agentOf: createAgentConfigReader(services),
    modelOf: world.modelOf,
    toolsOf: world.toolsOf,
    retryPolicy: options.retryPolicy ?? defaultRetryPolicy,
  };

  async function answer(doorbell: Doorbell): Promise<void> {
    let release: () => void;
    try {
      release = await slots.acquire();
    } catch (error) {
      // The doorbell is lost with us; the sweeper rings again.
      if (error instanceof SlotsClosed) return;
      throw error;
    }
    claiming.add(doorbell.runId);
    try {
      const claim = await claimRun(services, doorbell, lease.uuid);
      if (!claim) return release();
      const abort = new AbortController();
      running.set(claim.runId, abort);
      void executeRun(deps, claim, abort).finally(() => {
        if (running.get(claim.runId) === abort) running.delete(claim.runId);
        release();
      });
    } catch (error) {
      release();
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
    QUEUE_CLASSES.map((queueClass) => services.queue.listen(queueClass, DOORBELLS_AT_ONCE, answer)),
  );
  const dispatcher = startDispatcher(services);
  const strays = watchStrays(services, lease.uuid, (runId) => running.has(runId) || claiming.has(runId));

  return {
    get activeRuns() {
      return slots.active;
    },
    async stop({ drainMs = DRAIN_MS } = {}) {
      slots.close();
      // A broker that is gone answers no goodbye, and the runs must be given back all the same.
      const listening = Promise.allSettled(listeners.map((listener) => listener.stop()));
      await within(drainMs, Promise.all([listening, slots.empty()]));
      for (const abort of running.values()) abort.abort(new RunAbandoned("its worker stops"));
      await within(drainMs, slots.empty());
      await appender.idle();
      await Promise.all([dispatcher.stop(), strays.stop()]);
      leaveControl();
      await lease.stop();
      await world.close();
    },
  };
}

async function within(ms: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise, timeout]);
  clearTimeout(timer);
}
