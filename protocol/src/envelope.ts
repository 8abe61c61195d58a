import type { ConversationEvent, Interrupt } from "./events.ts";

/**
 * One entry of a conversation's log as every reader receives it.
 *
 * `seq` is 1..n without gaps in its conversation. `from` is there when the envelope stands for several entries
 * (`from..seq`): adjacent deltas merged on reading. A reader applies an envelope when `from ?? seq` is its cursor + 1.
 */
export interface Envelope {
  seq: number;
  from?: number;
  conversationId: string;
  runId: string | null;
  /** ISO 8601 UTC with milliseconds: the database's clock at the append. */
  at: string;
  /** Links the event to the request, the job and the logs that caused it. */
  correlationId: string;
  event: ConversationEvent;
}

/** Who may read an event: everyone in the conversation, or only the customer's staff. */
export type Audience = "all" | "staff";

/** An envelope as stored, before it is cut to a reader's audience. */
export interface StoredEnvelope extends Envelope {
  audience: Audience;
}

/** Who an event is for when its writer does not say: reasoning is for staff, whoever opens or closes it. */
export function defaultAudience(event: ConversationEvent): Audience {
  return event.type.startsWith("REASONING_") ? "staff" : "all";
}

/** First seq an envelope stands for. */
export function firstSeq(envelope: Envelope): number {
  return envelope.from ?? envelope.seq;
}

/** Cuts an envelope to a reader: a visitor sees a staff event as `hidden` at its seq, so that the sequence stays whole. */
export function forAudience(stored: StoredEnvelope, reader: Audience): Envelope {
  const { audience, ...envelope } = stored;
  if (reader === "staff") return envelope;
  if (audience === "all") return { ...envelope, event: forVisitor(envelope.event) };
  return { ...envelope, event: { type: "CUSTOM", name: "hidden", value: {} } };
}

/** The one event with parts for different eyes: what an operator needs to decide is not shown to visitors. */
function forVisitor(event: ConversationEvent): ConversationEvent {
  if (event.type !== "RUN_FINISHED" || event.outcome.type !== "interrupt") return event;
  return { ...event, outcome: { ...event.outcome, interrupts: event.outcome.interrupts.map(interruptForVisitor) } };
}

/**
 * What an operator decides is no visitor's business: they learn that someone must look at it, and for an approval that
 * it is not theirs. A tool's schema is for those who may change a call.
 */
export function interruptForVisitor(interrupt: Interrupt): Interrupt {
  const { metadata, responseSchema: _schema, ...shown } = interrupt;
  if (interrupt.reason === "operator") return shown;
  if (interrupt.reason !== "approval" || metadata === undefined) return interrupt;
  if (metadata.by === "operator") return { ...shown, metadata: { kind: "approval", by: "operator", choices: [] } };
  const { parameters: _parameters, ...own } = metadata;
  return { ...interrupt, metadata: own };
}
