/**
 * The hub: delivers committed events to this server's readers (sockets and SSE responses). One per server.
 *
 * The bus is quick but may lose; Postgres is the truth. So a reader goes through three phases: backfill (pages of the
 * log, begun only once its conversation's subscription is in force), cut-over (what arrived meanwhile), live (each batch
 * that continues its cursor). Whatever breaks the sequence, a lost batch, a gap, a slow network, sends it back to the
 * log. Every 2 s, and when the bus reconnects, the heads of all conversations with readers are compared in one query,
 * so that a batch lost without trace delays a reader by that much and no more. While the bus is away this is how readers
 * get everything, twice a second.
 */
import type { BusSubscription, EventBus } from "@agent-engine/core/events/bus.ts";
import { Channel, type LogPage, type LogQuery } from "./channel.ts";
import type { Reader, ReaderOptions, Sink } from "./reader.ts";
import { createSlots } from "./slots.ts";

/** Heads are compared at each tick while the bus is away, else every 2 s. */
const TICK_MS = 500;
const TICKS_PER_REPAIR = 4;
/** How long a backfill waits for its subscription. Begun without, what the bus did not bring is found by the repair. */
const SUBSCRIBE_WAIT_MS = 1_000;
/** Reads at once: a mass reconnect must leave connections for requests. */
const READ_SLOTS = 6;

export interface HubDeps {
  bus: EventBus;
  readLog: (query: LogQuery) => Promise<LogPage>;
  /** The last seq of each conversation that still exists, in one query. */
  readHeads: (conversationIds: string[]) => Promise<ReadonlyMap<string, number>>;
  onError: (what: string, error: unknown) => void;
  /** Runs a task at the end of this turn of the event loop. */
  defer?: (task: () => void) => void;
}

export interface OpenReader extends ReaderOptions {
  tenantId: string;
  conversationId: string;
}

export interface HubSize {
  conversations: number;
  readers: number;
  /** Readers whose network is slow. */
  heldBack: number;
}

export interface Hub {
  /**
   * Opens a reader; the caller has checked that it may read. Resolves once the backfill has begun, which a bus that is
   * away delays by a second at most.
   */
  open(request: OpenReader, sink: Sink): Promise<Reader>;
  /** Compares heads now. Runs by itself: every 2 s, on the bus's reconnect, and oftener while it is away. */
  repair(): Promise<void>;
  readonly size: HubSize;
  /** Ends all readers. */
  close(): void;
}

interface Subscription extends BusSubscription {
  channel: Channel;
}

export function createHub({ bus, readLog, readHeads, onError, defer = setImmediate }: HubDeps): Hub {
  const subscriptions = new Map<string, Subscription>();
  const withReadSlot = createSlots(READ_SLOTS);
  let dirty: Channel[] = [];
  let repairing: Promise<void> | null = null;
  let isClosed = false;
  let ticks = 0;

  function scheduleFlush(channel: Channel): void {
    if (dirty.push(channel) > 1) return;
    defer(() => {
      const channels = dirty;
      dirty = [];
      for (const each of channels) each.flush();
    });
  }

  function subscribe(tenantId: string, conversationId: string): Subscription {
    const channel = new Channel(tenantId, conversationId, {
      readLog: (query) => withReadSlot(() => readLog(query)),
      scheduleFlush,
      onReadFailed: (error) =>
        onError("reading a conversation's log failed; its readers wait for the next repair", error),
      onEmpty: release,
    });
    const { inForce, leave } = bus.subscribe(conversationId, (batch) => channel.receive(batch));
    const subscription = { channel, inForce, leave };
    subscriptions.set(conversationId, subscription);
    return subscription;
  }

  function release(channel: Channel): void {
    const subscription = subscriptions.get(channel.conversationId);
    if (subscription?.channel !== channel) return;
    subscriptions.delete(channel.conversationId);
    subscription.leave();
  }

  async function compareHeads(): Promise<void> {
    if (subscriptions.size === 0) return;
    try {
      const heads = await readHeads([...subscriptions.keys()]);
      for (const { channel } of subscriptions.values()) channel.repair(heads.get(channel.conversationId) ?? 0);
    } catch (error) {
      onError("comparing heads failed; trying again in 2 s", error);
    }
  }

  function repair(): Promise<void> {
    return (repairing ??= compareHeads().finally(() => (repairing = null)));
  }

  const timer = setInterval(() => {
    if (++ticks % TICKS_PER_REPAIR === 0 || !bus.isHealthy()) void repair();
  }, TICK_MS);
  timer.unref();
  const stopListening = bus.onReconnect(() => void repair());

  return {
    async open({ tenantId, conversationId, ...options }, sink) {
      if (isClosed) throw new Error("the hub is closed");
      const subscription = subscriptions.get(conversationId) ?? subscribe(tenantId, conversationId);
      const reader = subscription.channel.add(options, sink);
      // What falls between a backfill that could not wait and its subscription is found when that comes into force.
      const inTime = bus.isHealthy() && (await within(SUBSCRIBE_WAIT_MS, subscription.inForce));
      if (!inTime) void subscription.inForce.then(repair);
      reader.start();
      return reader;
    },
    repair,
    get size() {
      const readers = [...subscriptions.values()].flatMap(({ channel }) => [...channel.readers]);
      const heldBack = readers.filter(({ state }) => state === "blocked").length;
      return { conversations: subscriptions.size, readers: readers.length, heldBack };
    },
    close() {
      isClosed = true;
      clearInterval(timer);
      stopListening();
      for (const { channel } of [...subscriptions.values()]) {
        for (const reader of [...channel.readers]) reader.end("closing");
      }
    },
  };
}

/** Whether it was done in time. */
async function within(ms: number, done: Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, ms, false)));
  const inTime = await Promise.race([done.then(() => true), late]);
  clearTimeout(timer);
  return inTime;
}
