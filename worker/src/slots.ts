import type { QueueClass } from "@agent-engine/protocol/resources.ts";

/**
 * A worker's places. Background runs (`standard`) may hold only part of them, chat all that they do not hold: so no
 * amount of background work takes the last place from chat.
 */
export interface Slots {
  readonly active: number;
  /** Runs of the class that hold a place. */
  activeOf(queueClass: QueueClass): number;
  /** Places a run of the class could take now. */
  free(queueClass: QueueClass): number;
  /** Places a class may take now, in the order in which to ask: each is sure of its share while both have runs waiting. */
  turns(): { queueClass: QueueClass; places: number }[];
  /** The function that frees the place; null when there is none. */
  take(queueClass: QueueClass): (() => void) | null;
  /** From now on there is no place to take. */
  close(): void;
  /** Resolves when no place is taken. */
  empty(): Promise<void>;
}

export interface SlotsOptions {
  size: number;
  /** Of these, the places that background runs may hold. */
  background: number;
  /** A place came free where a class had none left. */
  onRoom?: () => void;
}

export function createSlots({ size, background, onRoom }: SlotsOptions): Slots {
  const active: Record<QueueClass, number> = { priority: 0, standard: 0 };
  // With a single place chat goes first.
  const chatShare = Math.max(1, size - background);
  let isClosed = false;
  let onEmpty: (() => void)[] = [];
  const total = () => active.priority + active.standard;

  function free(queueClass: QueueClass): number {
    if (isClosed) return 0;
    const left = size - total();
    return queueClass === "standard" ? Math.max(0, Math.min(left, background - active.standard)) : left;
  }

  return {
    get active() {
      return total();
    },
    activeOf: (queueClass) => active[queueClass],
    free,
    turns() {
      const chat = free("priority");
      const first = Math.max(0, Math.min(chat, chatShare - active.priority));
      const turns = [
        { queueClass: "priority" as const, places: first },
        { queueClass: "standard" as const, places: free("standard") },
        { queueClass: "priority" as const, places: chat - first },
      ];
      return turns.filter(({ places }) => places > 0);
    },
    take(queueClass) {
      if (free(queueClass) <= 0) return null;
      active[queueClass]++;
      let isReleased = false;
      return () => {
        if (isReleased) return;
        isReleased = true;
        const wasFull = free("priority") === 0 || free("standard") === 0;
        active[queueClass]--;
        if (total() === 0) {
          for (const resolve of onEmpty) resolve();
          onEmpty = [];
        }
        if (wasFull && !isClosed) onRoom?.();
      };
    },
    close() {
      isClosed = true;
    },
    empty() {
      return total() === 0 ? Promise.resolve() : new Promise((resolve) => onEmpty.push(resolve));
    },
  };
}
