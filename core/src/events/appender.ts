/**
 * Group commit for the runs of one worker: a flush takes whatever has gathered since the last one, for many
 * conversations, in one statement. Under load batches grow by themselves; idle, an event leaves at once.
 *
 * One flush is under way at a time, so a conversation's events stay in order; more of them side by side cost more than
 * they gain. After a lost connection a batch is tried again: the writer's position tells whether it was stored already.
 */
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Logger } from "pino";
import type { Database } from "../db/database.ts";
import { isPermanent } from "../db/permanent-error.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";
import { appendEvents, appendOutcomes, appendValues, type Slot, type SlotOutcome } from "./append.ts";
import type { EventBus } from "./bus.ts";

/** Someone with events to append: the appender asks for them when a flush begins, so that late ones still join. */
export interface AppendSource {
  readonly conversationId: string;
  /** Takes what is pending, or null; asked again only after `settle`. */
  take(): Slot | null;
  /** Told what became of the slot it gave. `stored` without envelopes: an earlier try had stored it. */
  settle(
    slot: Slot,
    result:
      | { kind: "stored"; envelopes: StoredEnvelope[] | null }
      | { kind: "fenced" }
      | { kind: "failed"; error: unknown },
  ): void;
}

export interface Appender {
  /** Asks that this source's pending events be stored soon. */
  request(source: AppendSource): void;
  /** Waits for what is under way; later requests are still served. */
  idle(): Promise<void>;
}

/**
 * Flushes begin at least so far apart. Alone, an event still leaves at once; with a hundred streams the tokens of a few
 * milliseconds travel together, since a flush costs the machine almost the same for one event as for ten.
 */
const FLUSH_INTERVAL_MS = 2;
const LOCKED_RETRY_MS = 5;
const CONNECTION_RETRY_MS = 200;
const MAX_BATCH_SLOTS = 512;

interface AppenderDeps {
  db: Pick<Database, "query">;
  bus: Pick<EventBus, "publish">;
  log: Logger;
}

/** A slot on its way. `isRepeat`: an earlier try may have stored it, its answer was lost. */
interface Entry {
  source: AppendSource;
  slot: Slot;
  isRepeat: boolean;
}

export function createAppender({ db, bus, log }: AppenderDeps): Appender {
  const waiting = new Set<AppendSource>();
  /** Slots to try again: they go with the next flush, so that one conversation never holds up the others. */
  let held: Entry[] = [];
  let isConnectionLost = false;
  let running: Promise<void> | null = null;
  let wake: (() => void) | null = null;
  let flushBegan = 0;

  async function drain(): Promise<void> {
    // One turn of the event loop, so that the events of this tick travel together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (waiting.size > 0 || held.length > 0) {
      const earlyMs = flushBegan + FLUSH_INTERVAL_MS - performance.now();
      if (earlyMs > 0) await delay(earlyMs);
      flushBegan = performance.now();
      await flush();
      if (isConnectionLost) await delay(CONNECTION_RETRY_MS);
      else if (held.length > 0 && waiting.size === 0) await arrivalOrDelay(LOCKED_RETRY_MS);
    }
    // Right after the look, without an await: a request made in between would be forgotten.
    running = null;
  }

  async function flush(): Promise<void> {
    const batch = held;
    held = [];
    for (const source of waiting) {
      if (batch.length >= MAX_BATCH_SLOTS) break;
      waiting.delete(source);
      const slot = source.take();
      if (slot) batch.push({ source, slot, isRepeat: false });
    }
    isConnectionLost = false;
    if (batch.length > 0) await store(batch);
  }

  async function store(batch: Entry[]): Promise<void> {
    let outcomes: SlotOutcome[];
    const slots = batch.map(({ slot }) => slot);
    try {
      outcomes = appendOutcomes(slots, await db.query(appendEvents, appendValues(slots)));
    } catch (error) {
      if (isPermanent(error)) return bisect(batch, error);
      // The connection broke: the batch may be stored or not. Its positions will tell.
      holdAfter(error, batch);
      return;
    }
    for (const [index, result] of outcomes.entries()) {
      const entry = batch[index];
      if (!entry) continue;
      const { source, slot } = entry;
      if (result.outcome === "ok") {
        const { envelopes } = result;
        bus.publish({ conversationId: slot.conversationId, tenantId: slot.tenantId, events: envelopes });
        source.settle(slot, { kind: "stored", envelopes });
      } else if (result.outcome === "locked") held.push(entry);
      else if (entry.isRepeat) await settleRepeat(entry);
      else source.settle(slot, { kind: "fenced" });
    }
  }

  /** A repeat that is refused may have been stored the first time. */
  async function settleRepeat(entry: Entry): Promise<void> {
    let isStored: boolean;
    try {
      isStored = await wasStored(db, entry.slot);
    } catch (error) {
      holdAfter(error, [entry]);
      return;
    }
    // Readers find it by the repair of heads; publishing what we did not see numbered would be a guess.
    entry.source.settle(entry.slot, isStored ? { kind: "stored", envelopes: null } : { kind: "fenced" });
  }

  function holdAfter(error: unknown, batch: readonly Entry[]): void {
    log.warn({ err: error, slots: batch.length }, "append interrupted, trying again");
    isConnectionLost = true;
    for (const entry of batch) held.push({ ...entry, isRepeat: true });
  }

  /** One bad event must not fail its neighbours: halves the batch until the culprit stands alone. */
  async function bisect(batch: Entry[], error: unknown): Promise<void> {
    const [only] = batch;
    if (batch.length === 1 && only) {
      log.error({ err: error, conversationId: only.slot.conversationId }, "an event cannot be stored");
      only.source.settle(only.slot, { kind: "failed", error });
      return;
    }
    const middle = Math.ceil(batch.length / 2);
    await store(batch.slice(0, middle));
    await store(batch.slice(middle));
  }

  async function arrivalOrDelay(ms: number): Promise<void> {
    await Promise.race([delay(ms), new Promise<void>((resolve) => (wake = resolve))]);
    wake = null;
  }

  return {
    request(source: AppendSource) {
      waiting.add(source);
      wake?.();
      running ??= drain();
    },
    async idle() {
      while (running) await running;
    },
  };
}

const position = statement<{ run_id: string | null; epoch: number; run_pos: string }>(
  "head_position",
  "select run_id, epoch, run_pos from head_position($1, $2)",
);

/** Whether a slot whose answer was lost is in the log: the lease is still ours and its position lies behind the slot. */
async function wasStored(db: Pick<Database, "query">, slot: Slot): Promise<boolean> {
  if (!slot.fence) return false;
  const [head] = await db.query(position, [uuidOf(slot.tenantId), uuidOf(slot.conversationId)]);
  return (
    head !== undefined &&
    head.run_id?.replaceAll("-", "") === uuidOf(slot.fence.runId) &&
    head.epoch === slot.fence.epoch &&
    Number(head.run_pos) === slot.fence.position + slot.events.length
  );
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
