import { setTimeout as delay } from "node:timers/promises";
import { isPermanent } from "@agent-engine/core/db/permanent-error.ts";
import { isPostgresUnavailable } from "@agent-engine/core/db/postgres-unavailable.ts";
import { LeaseLost } from "@agent-engine/core/events/append-in-transaction.ts";
import type { Logger } from "pino";

const RETRY_MS = 200;

export interface StoreOnce {
  write: () => Promise<void>;
  /** Asked when a repeat is refused: whether an earlier try, whose answer was lost, had done it. */
  wasStored: () => Promise<boolean>;
  log: Logger;
  /** Ends the tries; its reason is thrown. */
  signal: AbortSignal;
}

/**
 * Writes under a fence, however often the way to Postgres breaks: the fence lets it happen once. To give up instead
 * would throw away a model's turn that is already paid for.
 */
export async function storeOnce({ write, wasStored, log, signal }: StoreOnce): Promise<void> {
  for (let isRepeat = false; ; isRepeat = true) {
    try {
      await write();
      return;
    } catch (error) {
      if (!isPostgresUnavailable(error)) {
        const isRefused = error instanceof LeaseLost || isPermanent(error);
        if (isRepeat && isRefused && (await isTrue(wasStored, signal))) return;
        throw error;
      }
      log.warn({ err: error }, "a decision about the run could not be stored, or its answer was lost; trying again");
    }
    await pause(signal);
  }
}

async function isTrue(ask: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isPostgresUnavailable(error)) throw error;
    }
    await pause(signal);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await delay(RETRY_MS, undefined, { signal }).catch(() => {});
  signal.throwIfAborted();
}
