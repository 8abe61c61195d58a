/** Reads what a fork is made from. Nothing is locked: a log is only appended to, and what follows the event is not read. */
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import type { QueueClass } from "@agent-engine/protocol/resources.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { notFound, ProblemError } from "../errors.ts";
import { toEnvelopes, type EventRow } from "../events/read-events.ts";
import { idOf, uuidOf } from "../ids.ts";
import type { OriginalStep } from "./fork-history.ts";
import type { ForkSettings } from "./fork-settings.ts";
import { certainOutcome, type OutcomeRow } from "./recorded-outcome.ts";

/** The run that is forked. */
export interface Original {
  conversationId: string;
  /** Uuids, for the fork's own rows. */
  agent: string;
  agentVersion: number;
  queueClass: QueueClass;
  /** Where its message begins, where it was first started, and its last event so far. */
  firstSeq: number;
  beganAt: number;
  lastSeq: number;
  isOver: boolean;
  message: { id: string; text: string };
  /** Set when it is a fork itself. */
  fork: ForkSettings | null;
  steps: OriginalStep[];
}

const originalRun = statement<{
  conversation_id: string;
  agent_id: string;
  agent_version: number;
  queue_class: QueueClass;
  first_seq: string;
  last_seq: string;
  is_over: boolean;
  fork: ForkSettings | null;
  message_id: string;
  message_text: string;
}>(
  "fork_original",
  `select r.conversation_id, r.agent_id, r.agent_version, r.queue_class, r.first_seq, coalesce(r.last_seq, h.last_seq) as last_seq,
     r.finished_at is not null as is_over, r.fork, m.id as message_id, m.text as message_text
   from runs r
   join conversation_heads h on h.conversation_id = r.conversation_id
   join messages m on m.run_id = r.id and m.role = 'user'
   where r.id = $1`,
);

// The first ones of a run: its message, what told of its place in the queue, its start.
const firstEvents = statement<{ seq: string; event: ConversationEvent }>(
  "fork_first_events",
  `select e.seq, e.event from events e
   where e.conversation_id = $1 and e.run_id = $2 and e.seq >= $3 order by e.seq limit 20`,
);

interface StepRow {
  step_index: number;
  text: string;
  invocations: (Omit<OriginalStep["invocations"][number], "outcome"> & OutcomeRow)[] | null;
}

const steps = statement<StepRow>(
  "fork_original_steps",
  `select s.step_index, s.text, (
     select json_agg(json_build_object(
       'toolCallId', i.tool_call_id, 'callIndex', i.call_index, 'key', i.idempotency_key, 'tool', i.tool, 'effect', i.effect,
       'arguments', i.arguments, 'toolkit', i.toolkit, 'host', i.host, 'status', i.status, 'outcome', i.outcome,
       'decision', i.decision) order by i.call_index)
     from tool_invocations i where i.run_id = s.run_id and i.step_index = s.step_index) as invocations
   from steps s where s.run_id = $1 order by s.step_index`,
);

const hold = statement(
  "fork_hold_original",
  "select c.id from runs r join conversations c on c.id = r.conversation_id where r.id = $1 for key share of c",
);

// A statement of its own, so that it sees what the lock has waited for.
const isErased = statement(
  "fork_original_erased",
  "select 1 from runs r join erased_conversations e on e.conversation_id = r.conversation_id where r.id = $1",
);

/**
 * Keeps the conversation from being erased or deleted while it is copied, so that no copy is left behind. Throws
 * `conflict` when its visitor was erased.
 */
export async function holdForCopying(tx: Tx, runId: string): Promise<void> {
  await tx.query(hold, [uuidOf(runId)]);
  const [erased] = await tx.query(isErased, [uuidOf(runId)]);
  if (erased) {
    throw new ProblemError("conflict", "The visitor of this conversation was erased: there is nothing left to fork.");
  }
}

/** Throws `not_found` for a run that is not there or not this tenant's. */
export async function readOriginal(tx: Tx, runId: string): Promise<Original> {
  const [row] = await tx.query(originalRun, [uuidOf(runId)]);
  if (!row) throw notFound("run");
  const firstSeq = Number(row.first_seq);
  const first = await tx.query(firstEvents, [row.conversation_id, uuidOf(runId), firstSeq]);
  const began = first.find(({ event }) => event.type === "RUN_STARTED") ?? first.at(-1);
  return {
    conversationId: idOf("conv", row.conversation_id),
    agent: row.agent_id,
    agentVersion: row.agent_version,
    queueClass: row.queue_class,
    firstSeq,
    beganAt: Number(began?.seq ?? firstSeq),
    lastSeq: Number(row.last_seq),
    isOver: row.is_over,
    message: { id: idOf("msg", row.message_id), text: row.message_text },
    fork: row.fork,
    steps: (await tx.query(steps, [uuidOf(runId)])).map(toStep),
  };
}

function toStep({ step_index, text, invocations }: StepRow): OriginalStep {
  return {
    index: step_index,
    text,
    invocations: (invocations ?? []).map(({ status, outcome, decision, ...invocation }) => ({
      ...invocation,
      outcome: certainOutcome({ status, outcome, decision }),
    })),
  };
}

const logUpTo = statement<EventRow>(
  "fork_log",
  `select e.seq, e.run_id, e.audience, e.correlation_id, e.at, e.event from events e
   where e.conversation_id = $1 and e.seq <= $2 order by e.seq`,
);

/** The log from its beginning, adjacent deltas merged: the same to every reader, and much shorter. */
export async function readLogUpTo(tx: Tx, conversationId: string, seq: number): Promise<StoredEnvelope[]> {
  return toEnvelopes(conversationId, await tx.query(logUpTo, [uuidOf(conversationId), seq]));
}
