import type { Outbox } from "@agent-engine/core/queue/outbox.ts";
import type { Doorbell } from "@agent-engine/core/queue/run-queue.ts";

/** Doorbells that were taken from the broker and could not be answered, since Postgres was away. */
export interface Unanswered {
  /** Puts it back among the pending as soon as Postgres answers; whoever has a place then takes it at once. */
  add(doorbell: Doorbell): void;
  stop(): void;
}

const AGAIN_MS = 250;
/** From then on the sweeper finds the doorbell just as soon. */
const GIVE_UP_MS = 15_000;

export function createUnanswered(outbox: Pick<Outbox, "putBack">, againMs = AGAIN_MS): Unanswered {
  const held = new Map<Doorbell, number>();
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;

  async function putBack(): Promise<void> {
    for (const [doorbell, sinceMs] of held) {
      try {
        await outbox.putBack(doorbell);
        held.delete(doorbell);
      } catch {
        // That Postgres is away is said elsewhere, once.
        if (performance.now() - sinceMs > GIVE_UP_MS) held.delete(doorbell);
        break;
      }
    }
    timer = undefined;
    schedule();
  }

  function schedule(): void {
    if (isStopped || timer || held.size === 0) return;
    timer = setTimeout(() => void putBack(), againMs);
  }

  return {
    add(doorbell) {
      held.set(doorbell, performance.now());
      schedule();
    },
    stop() {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
