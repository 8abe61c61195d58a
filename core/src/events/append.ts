import type { Audience, StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { statement } from "../db/statement.ts";
import { uuidOf } from "../ids.ts";

/** An event on its way into the log. */
export interface NewEvent {
  event: ConversationEvent;
  audience: Audience;
  runId: string | null;
  correlationId: string;
}

/** Holds a run's writer to its lease: taken only while run, epoch and position are all current. */
export interface Fence {
  runId: string;
  epoch: number;
  /** How many events this lease has appended so far. */
  position: number;
}

/** One conversation's share of an append. A conversation may appear once in a batch. */
export interface Slot {
  conversationId: string;
  tenantId: string;
  fence: Fence | null;
  events: readonly NewEvent[];
}

/**
 * What became of a slot. `fenced`: the lease is no longer the writer's, its position is already past these events, or
 * the conversation is gone.
 * `locked`: another writer holds the conversation for a moment; try again.
 */
export type SlotOutcome =
  | { outcome: "ok"; envelopes: StoredEnvelope[] }
  | { outcome: "fenced" }
  | { outcome: "locked" };

interface AppendRow {
  slot: number;
  outcome: "ok" | "fenced" | "locked";
  base: string | null;
  at: Date;
}

/** Skips conversations that are locked: for the worker's batches. */
export const appendEvents = statement<AppendRow>(
  "append_events",
  `select * from append_events($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::int[],
     $7::int[], $8::uuid[], $9::text[], $10::text[], $11::text[])`,
);

/** Waits for the lock: for a transaction that appends to one conversation. */
export const appendToConversation = statement<Omit<AppendRow, "slot">>(
  "append_to_conversation",
  "select * from append_to_conversation($1, $2, $3, $4, $5, $6::uuid[], $7::text[], $8::text[], $9::text[])",
);

/** The values of `appendToConversation`. */
export function appendToConversationValues(slot: Slot): unknown[] {
  return [
    uuidOf(slot.conversationId),
    uuidOf(slot.tenantId),
    slot.fence ? uuidOf(slot.fence.runId) : null,
    slot.fence?.epoch ?? null,
    slot.fence?.position ?? null,
    slot.events.map((event) => (event.runId === null ? null : uuidOf(event.runId))),
    slot.events.map((event) => event.audience),
    slot.events.map((event) => event.correlationId),
    slot.events.map((event) => JSON.stringify(event.event)),
  ];
}

/** The values of `appendEvents`. */
export function appendValues(slots: readonly Slot[]): unknown[] {
  const values: [string[], string[], (string | null)[], number[], number[], number[]] = [[], [], [], [], [], []];
  const events: [number[], (string | null)[], string[], string[], string[]] = [[], [], [], [], []];
  for (const [index, slot] of slots.entries()) {
    values[0].push(uuidOf(slot.conversationId));
    values[1].push(uuidOf(slot.tenantId));
    values[2].push(slot.fence ? uuidOf(slot.fence.runId) : null);
    values[3].push(slot.fence?.epoch ?? 0);
    values[4].push(slot.fence?.position ?? 0);
    values[5].push(slot.events.length);
    for (const event of slot.events) {
      events[0].push(index + 1);
      events[1].push(event.runId === null ? null : uuidOf(event.runId));
      events[2].push(event.audience);
      events[3].push(event.correlationId);
      events[4].push(JSON.stringify(event.event));
    }
  }
  return [...values, ...events];
}

/** Joins the answer to the slots: what was stored, as readers will see it. */
export function appendOutcomes(slots: readonly Slot[], rows: readonly AppendRow[]): SlotOutcome[] {
  const bySlot = new Map(rows.map((row) => [row.slot, row]));
  return slots.map((slot, index) => {
    const row = bySlot.get(index + 1);
    if (!row || row.outcome === "locked") return { outcome: "locked" };
    if (row.outcome === "fenced" || row.base === null) return { outcome: "fenced" };
    return {
      outcome: "ok",
      envelopes: toEnvelopes(slot.conversationId, { base: Number(row.base), at: row.at, events: slot.events }),
    };
  });
}

/** Events and where they were stored: `base` is the seq before the first of them. */
export interface Appended {
  base: number;
  at: Date;
  events: readonly NewEvent[];
}

export function toEnvelopes(conversationId: string, { base, at, events }: Appended): StoredEnvelope[] {
  const time = at.toISOString();
  return events.map(({ event, runId, audience, correlationId }, offset) => ({
    seq: base + offset + 1,
    conversationId,
    runId,
    at: time,
    correlationId,
    audience,
    event,
  }));
}
