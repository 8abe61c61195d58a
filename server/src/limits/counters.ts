/**
 * Counts requests in windows of a minute, for all servers together where there is Redis. Small limits are exact: a
 * request waits for Redis to count it. Of a large limit only the second half is: before that a request is counted here
 * at once and told to Redis soon after, as long as this server has heard the others' count within a second. Without
 * Redis each server counts for itself: a limit must never hold back a chat.
 */
import { openRedis, FAIL_FAST } from "@agent-engine/core/redis/open-redis.ts";
import type { Redis } from "ioredis";
import type { Logger } from "pino";
import { RateLimiterMemory, RateLimiterRedis, type RateLimiterAbstract } from "rate-limiter-flexible";

export const WINDOW_SECONDS = 60;
const WINDOW_MS = WINDOW_SECONDS * 1_000;
/** Up to here a limit is exact from its first request on. */
const SMALL_LIMIT = 200;
/** When what was counted here is told to Redis, and how old its last answer may be to go by. */
const TELL_MS = 25;
const FRESH_MS = 1_000;
/** How long a request waits for Redis, and for how long nobody does after it did not answer. */
const ANSWER_MS = 150;
const AWAY_MS = 1_000;
/** Windows remembered, about 200 bytes each; the oldest makes room. */
const MAX_WINDOWS = 100_000;

export interface Count {
  /** This request is the so-manieth of its window. */
  place: number;
  /** Until the window ends. */
  leftMs: number;
}

export interface Counters {
  /** Counts a request. What is known to be over its limit is not counted, and waits for nobody. */
  add(key: string, limit: number): Count | Promise<Count>;
  /** Of remembered windows. */
  readonly size: number;
  close(): void;
}

interface Window {
  key: string;
  endsAtMs: number;
  /** As the store said; what was sent since, and what waits to be sent. */
  told: number;
  sent: number;
  waiting: number;
  /** When the store said so. */
  toldAtMs: number;
  /** The next batch, which holds all that waits; resolves with what the store had counted before it. */
  batch: PromiseWithResolvers<number> | null;
  isTelling: boolean;
}

export interface CountersOptions {
  /** Null: this process counts alone. */
  redisUrl: string | null;
  log: Logger;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

export function createCounters({ redisUrl, log, clock }: CountersOptions): Counters {
  const windows = new Map<string, Window>();
  const late = new Set<Window>();
  const store = createStore(redisUrl, log, clock);

  function windowOf(key: string): Window {
    const found = windows.get(key);
    if (found && found.endsAtMs > clock()) return found;
    // Insertion order is age.
    windows.delete(key);
    for (const oldest of windows.keys()) {
      if (windows.size < MAX_WINDOWS) break;
      windows.delete(oldest);
    }
    const fresh: Window = {
      key,
      endsAtMs: clock() + WINDOW_MS,
      told: 0,
      sent: 0,
      waiting: 0,
      toldAtMs: -Infinity,
      batch: null,
      isTelling: false,
    };
    windows.set(key, fresh);
    return fresh;
  }

  /** One batch of a window at a time is under way; what comes meanwhile is the next. */
  async function tell(window: Window): Promise<void> {
    if (window.isTelling) return;
    window.isTelling = true;
    while (window.batch) {
      const { batch, waiting } = window;
      window.batch = null;
      window.waiting = 0;
      window.sent += waiting;
      const { consumedPoints, msBeforeNext } = await store.add(window.key, waiting);
      window.sent -= waiting;
      window.told = consumedPoints;
      window.endsAtMs = clock() + Math.max(msBeforeNext, 1);
      window.toldAtMs = clock();
      batch.resolve(consumedPoints - waiting);
    }
    window.isTelling = false;
  }

  const timer = setInterval(() => {
    for (const window of late) void tell(window);
    late.clear();
  }, TELL_MS).unref();
  const sweep = setInterval(() => {
    for (const [key, window] of windows) if (window.endsAtMs <= clock()) windows.delete(key);
  }, WINDOW_MS).unref();

  return {
    add(key, limit) {
      const window = windowOf(key);
      const leftMs = (): number => Math.max(window.endsAtMs - clock(), 0);
      if (window.told >= limit) return { place: window.told + 1, leftMs: leftMs() };
      const order = ++window.waiting;
      window.batch ??= Promise.withResolvers<number>();
      const place = window.told + window.sent + order;
      if (limit > SMALL_LIMIT && place * 2 <= limit && clock() - window.toldAtMs < FRESH_MS) {
        late.add(window);
        return { place, leftMs: leftMs() };
      }
      const { promise } = window.batch;
      late.delete(window);
      void tell(window);
      return promise.then((before) => ({ place: before + order, leftMs: leftMs() }));
    },
    get size() {
      return windows.size;
    },
    close() {
      clearInterval(timer);
      clearInterval(sweep);
      store.close();
    },
  };
}

interface Store {
  add(key: string, points: number): Promise<{ consumedPoints: number; msBeforeNext: number }>;
  close(): void;
}

function createStore(redisUrl: string | null, log: Logger, clock: () => number): Store {
  // The limit itself is asked elsewhere: tenants have their own. Here is only counted.
  const options = { points: 1, duration: WINDOW_SECONDS, keyPrefix: "limit" };
  const here = new RateLimiterMemory(options);
  if (redisUrl === null) return { add: (key, points) => here.penalty(key, points), close: () => {} };

  const client: Redis = openRedis(redisUrl, log, {
    ...FAIL_FAST,
    commandTimeout: ANSWER_MS,
    enableAutoPipelining: true,
  });
  const shared: RateLimiterAbstract = new RateLimiterRedis({
    ...options,
    storeClient: client,
    rejectIfRedisNotReady: true,
  });
  let awayUntilMs = 0;
  return {
    async add(key, points) {
      if (clock() >= awayUntilMs) {
        try {
          const counted = await shared.penalty(key, points);
          awayUntilMs = 0;
          return counted;
        } catch (error) {
          if (awayUntilMs === 0) log.warn({ err: error }, "redis counts no requests: each server counts its own");
          awayUntilMs = clock() + AWAY_MS;
        }
      }
      return here.penalty(key, points);
    },
    close: () => client.disconnect(),
  };
}
