import type { Redis } from "ioredis";
import type { Logger } from "pino";

/** A Redis that is restarted is back within this; whoever reads notices nothing, since the hub repairs it. */
const GRACE_MS = 1_000;

export interface RedisHealth {
  isHealthy(): boolean;
  onHealth(listener: (isHealthy: boolean) => void): () => void;
  close(): void;
}

/**
 * Whether Redis answers on all these connections. Says in the log when it goes and when it comes back, once each, however
 * many tries there are in between.
 */
export function watchRedisHealth(connections: readonly Redis[], log: Logger): RedisHealth {
  const listeners = new Set<(isHealthy: boolean) => void>();
  /** `starting`: never reached, and not missed yet. */
  let state: "starting" | "answers" | "away" = "starting";
  let grace: NodeJS.Timeout | undefined;
  let lastError: Error | null = null;
  let isClosed = false;

  function become(next: "answers" | "away"): void {
    clearTimeout(grace);
    grace = undefined;
    if (state === next || isClosed) return;
    const wasAway = state === "away";
    state = next;
    if (next === "away") {
      log.warn(
        { err: lastError },
        "Redis does not answer: sockets are closed and readers ask Postgres; messages and runs go on. Check that Redis runs and that REDIS_URL is right; nothing else needs a restart",
      );
    } else if (wasAway) log.info("Redis answers again: sockets are accepted, live events go on");
    for (const listener of listeners) listener(next === "answers");
  }

  for (const connection of connections) {
    connection.on("ready", () => {
      if (connections.every(({ status }) => status === "ready")) become("answers");
    });
    connection.on("error", (error: Error) => {
      lastError = error;
      if (state === "starting") become("away");
    });
    connection.on("close", () => {
      if (state === "answers") grace ??= setTimeout(() => become("away"), GRACE_MS).unref();
    });
  }
  return {
    isHealthy: () => state === "answers",
    onHealth(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      isClosed = true;
      clearTimeout(grace);
      for (const connection of connections) connection.disconnect();
    },
  };
}
