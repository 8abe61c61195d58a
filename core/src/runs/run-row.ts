import { interruptForVisitor } from "@agent-engine/protocol/envelope.ts";
import type { FinishReason, Interrupt, TokenUsage } from "@agent-engine/protocol/events.ts";
import type { Message, Run, RunStatus } from "@agent-engine/protocol/resources.ts";
import { idOf } from "../ids.ts";

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
}

export const RUN_COLUMNS =
  "r.id, r.conversation_id, r.agent_id, r.status, r.interrupts, r.attempt, r.usage, r.finish_reason, r.error, r.created_at, r.finished_at";

/** The run as `staff` or the visitor it serves may see it: an interrupt's metadata is not for visitors. */
export function toRun(row: RunRow, reader: "all" | "staff" = "staff"): Run {
  return {
    id: idOf("run", row.id),
    conversationId: idOf("conv", row.conversation_id),
    agentId: idOf("agent", row.agent_id),
    status: row.status,
    interrupts: row.interrupts.map((interrupt) => (reader === "staff" ? interrupt : interruptForVisitor(interrupt))),
    attempt: row.attempt,
    usage: row.usage,
    finishReason: row.finish_reason,
    error: row.error && (reader === "staff" ? row.error : { code: row.error.code, message: row.error.message }),
    createdAt: row.created_at.toISOString(),
    finishedAt: row.finished_at?.toISOString() ?? null,
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

export const MESSAGE_COLUMNS = "m.id, m.conversation_id, m.client_message_id, m.role, m.text, m.created_at";

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
