/** BullMQ's two backends, as the run queue uses them. */
import { Queue, Worker, createPostgresBackend, withBackend, type Job } from "bullmq";
import type { Logger } from "pino";
import { CONNECT_TIMEOUT_MS, QUERY_TIMEOUT_MS } from "../db/limits.ts";
import { FAIL_FAST, openRedis, WAIT } from "../redis/open-redis.ts";

export type QueueBackend = { kind: "redis"; url: string } | { kind: "postgres"; url: string; schema?: string };

/** Holds BullMQ's tables where it runs on Postgres; `migrate` makes them. */
export const QUEUE_SCHEMA = "bullmq";

const PREFIX = "agent-engine";

/** A crashed worker's doorbells come back within about 5 s; Postgres fences whatever it still does. */
const LOCK_MS = 5_000;
const STALLED_MS = 2_500;
/** BullMQ's blocking command waits 5 s for a doorbell: a connection that is silent for longer is dead. */
const BLOCKING_SILENCE_MS = 7_000;

export interface Broker {
  queue(name: string): Queue;
  worker(name: string, concurrency: number, processor: (job: Job) => Promise<void>): Worker;
  /** False once it is known not to: nobody needs to find out again by waiting. */
  isAnswering(): boolean;
  /** Called when the broker is lost, and what it held perhaps with it. */
  onLost(listener: () => void): void;
  close(): Promise<void>;
}

export function openBroker(backend: QueueBackend, log: Logger): Broker {
  return backend.kind === "redis" ? redisBroker(backend.url, log) : postgresBroker(backend.url, backend.schema);
}

function redisBroker(url: string, log: Logger): Broker {
  const ringing = openRedis(url, log, FAIL_FAST);
  const listening = openRedis(url, log, { ...WAIT, socketTimeout: BLOCKING_SILENCE_MS });
  // Before the first connection BullMQ waits for it, as it should.
  let isAnswering = true;
  let isClosed = false;
  const listeners = new Set<() => void>();
  ringing.on("ready", () => (isAnswering = true));
  ringing.on("close", () => {
    if (!isAnswering || isClosed) return;
    isAnswering = false;
    for (const listener of listeners) listener();
  });
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
    isAnswering: () => isAnswering,
    onLost: (listener) => void listeners.add(listener),
    async close() {
      isClosed = true;
      ringing.disconnect();
      listening.disconnect();
    },
  };
}

function postgresBroker(url: string, schema = QUEUE_SCHEMA): Broker {
  const backed = withBackend(createPostgresBackend);
  const limits = { connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS };
  const connection = { connectionString: url, schema, max: 4, ...limits };
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
    isAnswering: () => true,
    onLost() {},
    async close() {},
  };
}
