import { mergeEvents } from "@agent-engine/protocol/merge.ts";
import { noBrackets, trackBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import { defaultAudience, type Audience, type StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { LeaseLost } from "./append-in-transaction.ts";
import type { Fence, NewEvent, Slot } from "./append.ts";
import type { Appender, AppendSource } from "./appender.ts";

export interface RunLogOptions {
  conversationId: string;
  tenantId: string;
  runId: string;
  epoch: number;
  correlationId: string;
  appender: Appender;
  /** Told once when the log is found fenced or cannot be written: the run must stop. */
  onLost: (error: Error) => void;
}

/**
 * What a run writes: an ordered buffer in front of the appender, holding the run's fence. Deltas that gather while a
 * flush is under way become one event, so the log holds what readers need and no more.
 */
export class RunLog implements AppendSource {
  readonly conversationId: string;
  readonly #options: RunLogOptions;
  #pending: NewEvent[] = [];
  #position = 0;
  /** Calls of `emit` and how many of them are committed: what `flush` compares. */
  #emitted = 0;
  #taken = 0;
  #stored = 0;
  #inFlight = false;
  #lost: Error | null = null;
  #waiters: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #brackets: OpenBrackets = noBrackets;

  constructor(options: RunLogOptions) {
    this.#options = options;
    this.conversationId = options.conversationId;
  }

  /** What the run has open, counting what is still pending. */
  get brackets(): OpenBrackets {
    return this.#brackets;
  }

  get lost(): Error | null {
    return this.#lost;
  }

  /** Adds an event; it is stored soon, in order. After the lease is lost, events are dropped. */
  emit(event: ConversationEvent, audience: Audience = defaultAudience(event)): void {
    if (this.#lost) return;
    this.#add(event, audience);
    if (!this.#inFlight) this.#options.appender.request(this);
  }

  /** Resolves when everything emitted so far is committed; rejects with `LeaseLost` when it never will be. */
  async flush(): Promise<void> {
    const target = this.#emitted;
    while (this.#stored < target) {
      if (this.#lost) throw this.#lost;
      await this.#settled();
    }
    if (this.#lost) throw this.#lost;
  }

  /**
   * Lets a transaction take the pending events with its own: waits for the flush under way, then hands over the
   * fence and the events, and moves on by what was stored once `write` has committed.
   */
  async takeOver<T>(
    last: readonly { event: ConversationEvent; audience?: Audience }[],
    write: (append: { fence: Fence; events: NewEvent[] }) => Promise<T>,
  ): Promise<T> {
    while (this.#inFlight) await this.#settled();
    if (this.#lost) throw this.#lost;
    for (const { event, audience } of last) this.#add(event, audience ?? defaultAudience(event));
    const events = this.#pending;
    this.#pending = [];
    this.#taken = this.#emitted;
    this.#inFlight = true;
    try {
      const result = await write({ fence: this.#fence(), events });
      this.#position += events.length;
      this.#stored = this.#taken;
      this.#inFlight = false;
      this.#wake();
      if (this.#pending.length > 0) this.#options.appender.request(this);
      return result;
    } catch (error) {
      this.#inFlight = false;
      this.#fail(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
  }

  take(): Slot | null {
    if (this.#inFlight || this.#lost || this.#pending.length === 0) return null;
    const events = this.#pending;
    this.#pending = [];
    this.#taken = this.#emitted;
    this.#inFlight = true;
    return {
      conversationId: this.#options.conversationId,
      tenantId: this.#options.tenantId,
      fence: this.#fence(),
      events,
    };
  }

  settle(
    slot: Slot,
    result:
      | { kind: "stored"; envelopes: StoredEnvelope[] | null }
      | { kind: "fenced" }
      | { kind: "failed"; error: unknown },
  ): void {
    this.#inFlight = false;
    if (result.kind === "stored") {
      this.#position += slot.events.length;
      this.#stored = this.#taken;
      if (this.#pending.length > 0) this.#options.appender.request(this);
      this.#wake();
      return;
    }
    this.#fail(
      result.kind === "fenced"
        ? new LeaseLost(this.#options.runId)
        : new Error("the run's events cannot be stored", { cause: result.error }),
    );
  }

  #add(event: ConversationEvent, audience: Audience): void {
    this.#emitted++;
    this.#brackets = trackBrackets(this.#brackets, event);
    const last = this.#pending.at(-1);
    const merged = last && last.audience === audience ? mergeEvents(last.event, event) : null;
    if (last && merged) {
      last.event = merged;
      return;
    }
    this.#pending.push({
      event,
      audience,
      runId: this.#options.runId,
      correlationId: this.#options.correlationId,
    });
  }

  #fence(): Fence {
    return { runId: this.#options.runId, epoch: this.#options.epoch, position: this.#position };
  }

  async #settled(): Promise<void> {
    await new Promise<void>((resolve, reject) => this.#waiters.push({ resolve, reject }));
  }

  /** Everyone who waits looks again by themselves. */
  #wake(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { resolve } of waiters) resolve();
  }

  #fail(error: Error): void {
    if (this.#lost) return;
    this.#lost = error;
    this.#pending = [];
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const { reject } of waiters) reject(error);
    this.#options.onLost(error);
  }
}
