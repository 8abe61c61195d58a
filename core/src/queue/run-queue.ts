/**
 * Where runs are announced to workers: BullMQ on Redis, or on Postgres where there is no Redis.
 *
 * A doorbell is a hint, so a broker that is away stops nothing: a doorbell that it does not take goes back into the
 * outbox, where a worker that has a place looks for itself, four times a second.
 */
import { isNotConnectionError, type Worker } from "bullmq";
import type { Logger } from "pino";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import { isPostgresUnavailable } from "../db/postgres-unavailable.ts";
import { openBroker, type QueueBackend } from "./brokers.ts";
import type { Outbox } from "./outbox.ts";

/**
 * A doorbell: it says "look at this run", nothing more. Postgres decides whether the run may be executed, so a lost,
 * late or repeated doorbell does no harm.
 */
export interface Doorbell {
  runId: string;
  handOver: number;
  correlationId: string;
}

export const QUEUE_CLASSES: readonly QueueClass[] = ["priority", "standard"];

export interface RunQueue {
  /** Best effort and never throws: what nobody could be told of stays in the outbox, where the sweeper finds it. */
  ring(queueClass: QueueClass, doorbell: Doorbell): Promise<void>;
  /** Answers doorbells until stopped; `answer` returns once the run is started or known not to be startable. */
  listen(queueClass: QueueClass, concurrency: number, answer: (doorbell: Doorbell) => Promise<void>): Promise<Listener>;
  close(): Promise<void>;
}

export interface Listener {
  /** Takes no further doorbell and waits for those being answered. */
  stop(): Promise<void>;
}

const nameOf = (queueClass: QueueClass) => `runs-${queueClass}`;

const RING_TIMEOUT_MS = 1_500;
const CLOSE_MS = 2_000;

/** Opens the queue. On Postgres the tables are BullMQ's own, in a schema of their own. */
export function openRunQueue(backend: QueueBackend, outbox: Outbox, log: Logger): RunQueue {
  const broker = openBroker(backend, log);
  const queues = new Map(QUEUE_CLASSES.map((queueClass) => [queueClass, broker.queue(nameOf(queueClass))]));
  for (const queue of queues.values())
    queue.on("error", (error) => log.debug({ err: error }, "queue connection error"));
  const workers = new Set<Worker>();

  broker.onLost(() => {
    // What it held may be lost with it. Only workers lose what they would have heard.
    if (workers.size === 0) return;
    outbox.putBackAll().catch((error: unknown) => log.debug({ err: error }, "doorbells not put back"));
  });

  async function ringBroker(queueClass: QueueClass, doorbell: Doorbell): Promise<boolean> {
    if (!broker.isAnswering()) return false;
    try {
      const added = queues.get(queueClass)?.add("run", doorbell, {
        // Not the bare run id: BullMQ ignores an id it still holds, and every hand-over must ring.
        jobId: `${doorbell.runId}-${doorbell.handOver}`,
        attempts: 1,
        removeOnComplete: true,
        removeOnFail: true,
      });
      // A broker that was never reached yet makes BullMQ wait for it, whatever its connection's own limits.
      await within(RING_TIMEOUT_MS, added);
      return true;
    } catch (error) {
      log[isAway(error) ? "debug" : "warn"]({ err: error, ...doorbell }, "doorbell not rung");
      return false;
    }
  }

  return {
    async ring(queueClass, doorbell) {
      if (await ringBroker(queueClass, doorbell)) return;
      try {
        await outbox.putBack(doorbell);
      } catch (error) {
        log[isPostgresUnavailable(error) ? "debug" : "warn"]({ err: error, ...doorbell }, "doorbell not put back");
      }
    },
    async listen(queueClass, concurrency, answer) {
      const worker = broker.worker(nameOf(queueClass), concurrency, (job) => answer(job.data as Doorbell));
      workers.add(worker);
      worker.on("error", (error) => {
        // That Redis is away is said once; BullMQ would say it several times a second.
        log[isAway(error) ? "debug" : "warn"]({ err: error, queueClass }, "queue worker error");
      });
      worker.on("failed", (job, error) => {
        const { data: doorbell } = (job ?? {}) as { data?: Doorbell };
        log[isPostgresUnavailable(error) ? "debug" : "error"]({ err: error, ...doorbell }, "doorbell failed");
      });
      return {
        async stop() {
          workers.delete(worker);
          // A broker that is gone answers no goodbye.
          await worker.close(!broker.isAnswering());
        },
      };
    },
    async close() {
      const closed = Promise.allSettled([...workers].map((worker) => worker.close(true))).then(() =>
        Promise.allSettled([...queues.values()].map((queue) => queue.close())),
      );
      // A broker that does not answer would be waited for.
      await within(CLOSE_MS, closed).catch(() => undefined);
      await broker.close();
    },
  };
}

/** The broker cannot be reached: it is said elsewhere, once. */
function isAway(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    error instanceof NoAnswer ||
    isPostgresUnavailable(error) ||
    !isNotConnectionError(error) ||
    /timed out|socket timeout|isn't writeable|max retries per request/i.test(error.message)
  );
}

class NoAnswer extends Error {}

async function within(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new NoAnswer(`no answer within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
