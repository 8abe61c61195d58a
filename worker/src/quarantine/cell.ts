import type { Logger } from "pino";
import { createAgentConfigReader } from "@agent-engine/core/agents/get-agent-config.ts";
import type { Services } from "@agent-engine/core/context.ts";
import { openDatabase } from "@agent-engine/core/db/database.ts";
import { createAppender } from "@agent-engine/core/events/appender.ts";
import type { ControlMessage } from "@agent-engine/core/events/bus.ts";
import { createMemoryBus } from "@agent-engine/core/events/memory-bus.ts";
import { newId } from "@agent-engine/core/ids.ts";
import { openAccounts } from "@agent-engine/core/members/accounts.ts";
import type { Doorbell } from "@agent-engine/core/queue/run-queue.ts";
import { claimRun } from "@agent-engine/core/runs/claim-run.ts";
import { reportCircuits } from "@agent-engine/core/toolkits/health/report-circuits.ts";
import { watchStrays } from "@agent-engine/core/workers/stray-runs.ts";
import { registerWorker } from "@agent-engine/core/workers/worker-registry.ts";
import { RunAbandoned } from "../engine/effects.ts";
import { executeRun, type ExecuteDeps } from "../execute-run.ts";
import { within } from "../within.ts";
import { openWorld } from "../world.ts";
import type { FromQuarantine, QuarantineSettings } from "./messages.ts";

/** For a run that hears the signal to end; one that does not must not take the time that its giving back needs. */
const HEARS_MS = 500;
const POOL_SIZE = 3;

/** A worker of one place, for one doorbell at a time. */
export interface Cell {
  /** Executes the doorbell's run to its end; tells `settled` after it. */
  answer(doorbell: Doorbell): Promise<void>;
  control(message: ControlMessage): void;
  /** Gives the run back and leaves in good order. */
  stop(limitMs: number): Promise<void>;
}

/** `tell` reaches the worker that started this process. Rejects when Postgres cannot be reached. */
export async function openCell(
  settings: QuarantineSettings,
  log: Logger,
  tell: (message: FromQuarantine) => void,
): Promise<Cell> {
  const services = cellServices(settings, log, tell);
  let current: { runId: string; isClaimed: boolean; abort: AbortController; done: Promise<void> } | null = null;
  // No places: the dispatcher must not count on this one.
  const lease = await registerWorker(services, { slots: 0, active: () => 0 });
  const world = openWorld(services, settings, settings.stall ? { stall: settings.stall } : {});
  const circuits = reportCircuits(services, lease.uuid);
  world.onCircuit?.(circuits.changed);
  const deps: ExecuteDeps = {
    services,
    appender: createAppender(services),
    lease,
    agentOf: createAgentConfigReader(services),
    modelOf: world.modelOf,
    toolsOf: world.toolsOf,
    spendingOf: world.spendingOf,
    retryPolicy: settings.retryPolicy,
  };
  const strays = watchStrays(
    services,
    lease.uuid,
    (runId) => current?.runId === runId,
    () => {
      const held = current;
      if (!held?.isClaimed) return [];
      return [{ runId: held.runId, stop: () => held.abort.abort(new RunAbandoned("it is no longer its worker's")) }];
    },
  );
  tell({ kind: "ready", workerUuid: lease.uuid });

  async function execute(doorbell: Doorbell, abort: AbortController): Promise<void> {
    try {
      const claim = await claimRun(services, doorbell, lease.uuid, { isQuarantine: true });
      if (!claim || claim.kind === "suspect") return;
      if (current) current.isClaimed = true;
      await executeRun(deps, claim, abort);
    } catch (error) {
      log.error({ err: error, runId: doorbell.runId }, "doorbell failed");
    }
  }

  return {
    async answer(doorbell) {
      const abort = new AbortController();
      const done = execute(doorbell, abort);
      current = { runId: doorbell.runId, isClaimed: false, abort, done };
      await done;
      current = null;
      tell({ kind: "settled", doorbell });
    },
    control(message) {
      if (message.kind !== "run.cancelled" || current?.runId !== message.runId) return;
      current.abort.abort(new RunAbandoned("it was cancelled"));
    },
    async stop(limitMs) {
      current?.abort.abort(new RunAbandoned("its worker stops"));
      await within(HEARS_MS, Promise.resolve(current?.done));
      circuits.stop();
      await within(limitMs, Promise.all([lease.stop(), world.close()]));
      void strays.stop();
    },
  };
}

function cellServices(
  { databaseUrl, secretKeys, models }: QuarantineSettings,
  log: Logger,
  tell: (message: FromQuarantine) => void,
): Services {
  const bus = createMemoryBus();
  return {
    db: openDatabase({ url: databaseUrl, poolSize: POOL_SIZE, log }),
    // Readers, and the broker, are the worker's to reach.
    bus: {
      ...bus,
      publish: (batch) => tell({ kind: "publish", batch }),
      control: { ...bus.control, publish: (message) => tell({ kind: "control", message }) },
    },
    queue: {
      ring: async (queueClass, doorbell) => tell({ kind: "ring", queueClass, doorbell }),
      listen: () => Promise.reject(new Error("a quarantine process hears of doorbells from its worker only")),
      close: async () => {},
    },
    log,
    secrets: { keys: secretKeys },
    accounts: openAccounts({}, databaseUrl, log),
    models,
    clock: Date.now,
    newId,
  };
}
