import { Queue, Worker, createPostgresBackend, isNotConnectionError, withBackend, type Job } from "bullmq";
import { Redis } from "ioredis";
import type { Logger } from "pino";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";

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

/** Where runs are announced to workers: BullMQ on Redis, or on Postgres where there is no Redis. */
export interface RunQueue {
  /** Best effort and never throws: what could not be rung stays in the outbox, where the sweeper finds it. */
  ring(queueClass: QueueClass, doorbell: Doorbell): Promise<void>;
  /** Answers doorbells until stopped; `answer` returns once the run is started or known not to be startable. */
  listen(queueClass: QueueClass, concurrency: number, answer: (doorbell: Doorbell) => Promise<void>): Promise<Listener>;
  close(): Promise<void>;
}

export interface Listener {
  /** Takes no further doorbell and waits for those being answered. */
  stop(): Promise<void>;
}

export type QueueBackend = { kind: "redis"; url: string } | { kind: "postgres"; url: string; schema?: string };

/** Holds BullMQ's tables where it runs on Postgres; `migrate` makes them. */
export const QUEUE_SCHEMA = "bullmq";

const PREFIX = "agent-engine";
const nameOf = (queueClass: QueueClass) => `runs-${queueClass}`;

/** A crashed worker's doorbells come back within about 5 s; Postgres fences whatever it still does. */
const LOCK_MS = 5_000;
const STALLED_MS = 2_500;

const RING_TIMEOUT_MS = 1_500;

/** Opens the queue. On Postgres the tables are BullMQ's own, in a schema of their own. */
export function openRunQueue(backend: QueueBackend, log: Logger): RunQueue {
  const makers = backend.kind === "redis" ? redisMakers(backend.url, log) : postgresMakers(backend.url, backend.schema);
  const queues = new Map(QUEUE_CLASSES.map((queueClass) => [queueClass, makers.queue(nameOf(queueClass))]));
  for (const queue of queues.values())
    queue.on("error", (error) => log.debug({ err: error }, "queue connection error"));
  const workers = new Set<Worker>();
  return {
    async ring(queueClass, doorbell) {
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
      } catch (error) {
        log.warn({ err: error, runId: doorbell.runId, correlationId: doorbell.correlationId }, "doorbell not rung");
      }
    },
    async listen(queueClass, concurrency, answer) {
      const worker = makers.worker(nameOf(queueClass), concurrency, (job) => answer(job.data as Doorbell));
      workers.add(worker);
      worker.on("error", (error) => {
        // The bus says once that Redis is away; BullMQ would say it several times a second.
        log[isNotConnectionError(error) ? "warn" : "debug"]({ err: error, queueClass }, "queue worker error");
      });
      worker.on("failed", (job, error) => log.error({ err: error, runId: job?.data.runId }, "doorbell failed"));
      return {
        async stop() {
          workers.delete(worker);
          await worker.close();
        },
      };
    },
    async close() {
      await Promise.allSettled([...workers].map((worker) => worker.close(true)));
      await Promise.allSettled([...queues.values()].map((queue) => queue.close()));
      await makers.close();
    },
  };
}

interface Makers {
  queue(name: string): Queue;
  worker(name: string, concurrency: number, processor: (job: Job) => Promise<void>): Worker;
  close(): Promise<void>;
}

function redisMakers(url: string, log: Logger): Makers {
  // The ringing side fails fast, so that a request never waits for a dead Redis; the listening side waits for ever.
  const ringing = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 1,
    commandTimeout: 1_000,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
  });
  const listening = new Redis(url, {
    maxRetriesPerRequest: null,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1_000),
  });
  for (const client of [ringing, listening]) {
    client.on("error", (error: Error) => log.debug({ err: error }, "redis connection error"));
  }
  return {
    queue: (name) => new Queue(name, { connection: ringing, prefix: PREFIX, skipVersionCheck: true }),
    worker: (name, concurrency, processor) =>
      new Worker(name, processor, {
        connection: listening,
        prefix: PREFIX,
        concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: STALLED_MS,
        maxStalledCount: 10,
        skipVersionCheck: true,
      }),
    async close() {
      ringing.disconnect();
      listening.disconnect();
    },
  };
}

function postgresMakers(url: string, schema = QUEUE_SCHEMA): Makers {
  const backed = withBackend(createPostgresBackend);
  const connection = { connectionString: url, schema, max: 4 };
  return {
    queue: (name) => new backed.Queue(name, { connection }) as unknown as Queue,
    worker: (name, concurrency, processor) =>
      new backed.Worker(name, processor, {
        connection,
        concurrency,
        lockDuration: LOCK_MS,
        stalledInterval: STALLED_MS,
        maxStalledCount: 10,
      }) as unknown as Worker,
    async close() {},
  };
}

async function within(ms: number, work: Promise<unknown> | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
