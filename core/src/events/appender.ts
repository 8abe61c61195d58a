/**
 * Group commit for the runs of one worker: a flush takes whatever has gathered since the last one, for many
 * conversations, in one statement. Under load batches grow by themselves; idle, an event leaves at once.
 *
 * Lanes work side by side on connections of their own; a conversation stays in one lane, so its events stay in order.
 * After a lost connection a batch is tried again: the writer's position tells whether it was stored already.
 */
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Logger } from "pino";
import type { Database } from "../db/database.ts";
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
  settle(slot: Slot, result: { kind: "stored"; envelopes: StoredEnvelope[] | null } | { kind: "fenced" } | { kind: "failed"; error: unknown }): void;
}

export interface Appender {
  /** Asks that this source's pending events be stored soon. */
  request(source: AppendSource): void;
  /** Waits for what is under way; later requests are still served. */
  idle(): Promise<void>;
}

const LANES = 2;
const LOCKED_RETRY_MS = 5;
const CONNECTION_RETRY_MS = 200;
const MAX_BATCH_SLOTS = 512;

export function createAppender(deps: { db: Database; bus: EventBus; log: Logger }): Appender {
  const lanes = Array.from({ length: LANES }, () => createLane(deps));
  return {
    request(source) {
      lanes[laneOf(source.conversationId)]?.request(source);
    },
    async idle() {
      await Promise.all(lanes.map((lane) => lane.idle()));
    },
  };
}

/** The last digits of a UUIDv7 are random. */
function laneOf(conversationId: string): number {
  return Number.parseInt(conversationId.slice(-2), 16) % LANES;
}

function createLane({ db, bus, log }: { db: Database; bus: EventBus; log: Logger }) {
  const waiting = new Set<AppendSource>();
  let running: Promise<void> | null = null;

  async function drain(): Promise<void> {
    // One turn of the event loop, so that the events of this tick travel together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (waiting.size > 0) await flush();
  }

  async function flush(): Promise<void> {
    const batch: { source: AppendSource; slot: Slot }[] = [];
    for (const source of waiting) {
      if (batch.length >= MAX_BATCH_SLOTS) break;
      waiting.delete(source);
      const slot = source.take();
      if (slot) batch.push({ source, slot });
    }
    await store(batch);
  }

  async function store(batch: { source: AppendSource; slot: Slot }[]): Promise<void> {
    let rest = batch;
    let isRepeat = false;
    while (rest.length > 0) {
      let outcomes: SlotOutcome[];
      const slots = rest.map(({ slot }) => slot);
      try {
        outcomes = appendOutcomes(slots, await db.query(appendEvents, appendValues(slots)));
      } catch (error) {
        if (isDataError(error)) {
          await bisect(rest, error);
          return;
        }
        // The connection broke: the batch may be stored or not. Its positions will tell.
        log.warn({ err: error, slots: slots.length }, "append interrupted, trying again");
        isRepeat = true;
        await delay(CONNECTION_RETRY_MS);
        continue;
      }
      const locked: typeof rest = [];
      for (const [index, outcome] of outcomes.entries()) {
        const entry = rest[index];
        if (!entry) continue;
        if (outcome.outcome === "ok") {
          bus.publish({
            conversationId: entry.slot.conversationId,
            tenantId: entry.slot.tenantId,
            events: outcome.envelopes,
          });
          entry.source.settle(entry.slot, { kind: "stored", envelopes: outcome.envelopes });
        } else if (outcome.outcome === "locked") {
          locked.push(entry);
        } else if (isRepeat && (await wasStored(db, entry.slot))) {
          // Readers find it by the repair of heads; publishing what we did not see numbered would be a guess.
          entry.source.settle(entry.slot, { kind: "stored", envelopes: null });
        } else {
          entry.source.settle(entry.slot, { kind: "fenced" });
        }
      }
      rest = locked;
      if (rest.length > 0) await delay(LOCKED_RETRY_MS);
    }
  }

  /** One bad event must not fail its neighbours: halves the batch until the culprit stands alone. */
  async function bisect(batch: { source: AppendSource; slot: Slot }[], error: unknown): Promise<void> {
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

  return {
    request(source: AppendSource) {
      waiting.add(source);
      running ??= drain().finally(() => {
        running = null;
      });
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
async function wasStored(db: Database, slot: Slot): Promise<boolean> {
  if (!slot.fence) return false;
  const [head] = await db.query(position, [uuidOf(slot.tenantId), uuidOf(slot.conversationId)]);
  return (
    head !== undefined &&
    head.run_id?.replaceAll("-", "") === uuidOf(slot.fence.runId) &&
    head.epoch === slot.fence.epoch &&
    Number(head.run_pos) === slot.fence.position + slot.events.length
  );
}

/** SQLSTATE classes 22 (data) and 23 (constraint): trying again cannot help. */
function isDataError(error: unknown): boolean {
  return typeof error === "object" && error !== null && "code" in error && /^2[23]/.test(String(error.code));
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
