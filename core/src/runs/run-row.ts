import { interruptForVisitor } from "@agent-engine/protocol/envelope.ts";
import type { FinishReason, ForkOrigin, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { Message, Run, RunStatus } from "@agent-engine/protocol/resources.ts";
import { idOf } from "../ids.ts";
import { OPEN_QUESTIONS, openInterrupt, type OpenQuestion } from "./open-questions.ts";

export interface RunRow {
  id: string;
  conversation_id: string;
  agent_id: string;
  status: RunStatus;
  interrupts: Interrupt[];
  attempt: number;
  usage: TokenUsage[];
  finish_reason: FinishReason | null;
  error: Run["error"];
  created_at: Date;
  finished_at: Date | null;
  open_questions?: OpenQuestion[] | null;
  /** Of a fork: from a statement's columns, or in the row as JSON. */
  forked_from?: ForkOrigin | null;
  fork?: { from: ForkOrigin } | null;
}

export const RUN_COLUMNS = `r.id, r.conversation_id, r.agent_id, r.status, r.interrupts, r.attempt, r.usage, r.finish_reason, r.error,
  r.created_at, r.finished_at, r.fork->'from' as forked_from, ${OPEN_QUESTIONS}`;

/**
 * The run as `staff` or the visitor it serves may see it: an interrupt's metadata is not for visitors, nor is what a
 * run that has ended left open.
 */
export function toRun(row: RunRow, reader: "all" | "staff" = "staff"): Run {
  const from = row.forked_from ?? row.fork?.from;
  const open = reader === "staff" ? (row.open_questions ?? []).map(openInterrupt) : [];
  return {
    id: idOf("run", row.id),
    conversationId: idOf("conv", row.conversation_id),
    agentId: idOf("agent", row.agent_id),
    status: row.status,
    interrupts: [
      ...row.interrupts.map((interrupt) => (reader === "staff" ? interrupt : interruptForVisitor(interrupt))),
      ...open,
    ],
    attempt: row.attempt,
    usage: row.usage,
    finishReason: row.finish_reason,
    error: row.error && (reader === "staff" ? row.error : { code: row.error.code, message: row.error.message }),
    createdAt: row.created_at.toISOString(),
    finishedAt: row.finished_at?.toISOString() ?? null,
    ...(from && reader === "staff"
      ? { forkedFrom: { runId: from.runId, conversationId: from.conversationId, seq: from.seq } }
      : {}),
  };
}

export interface MessageRow {
  id: string;
  conversation_id: string;
  client_message_id: string | null;
  role: "user" | "assistant";
  text: string;
  created_at: Date;
}

export function toMessage(row: MessageRow): Message {
  return {
    id: idOf("msg", row.id),
    conversationId: idOf("conv", row.conversation_id),
    clientMessageId: row.client_message_id,
    role: row.role,
    text: row.text,
    createdAt: row.created_at.toISOString(),
  };
}

/** Rows as `to_json` gives them: times are text. */
export type MessageJson = Omit<MessageRow, "created_at"> & { created_at: string };
export type RunJson = Omit<RunRow, "created_at" | "finished_at" | "open_questions"> & {
  created_at: string;
  finished_at: string | null;
};

export function messageOfJson(json: MessageJson): Message {
  return toMessage({ ...json, created_at: new Date(json.created_at) });
}

export function runOfJson(json: RunJson, reader: "all" | "staff" = "staff"): Run {
  return toRun(
    {
      ...json,
      created_at: new Date(json.created_at),
      finished_at: json.finished_at === null ? null : new Date(json.finished_at),
    },
    reader,
  );
}
