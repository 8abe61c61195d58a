import type { Conversation } from "@agent-engine/protocol/resources.ts";
import { idOf } from "../ids.ts";

export interface ConversationRow {
  id: string;
  agent_id: string;
  visitor_id: string | null;
  mode: "agent" | "operator";
  last_seq: string;
  created_at: Date;
  /** Of a fork. */
  forked_from?: string | null;
  forked_from_run?: string | null;
  forked_from_seq?: string | null;
}

export const CONVERSATION_COLUMNS = `c.id, c.agent_id, c.visitor_id, c.mode, h.last_seq, c.created_at,
  c.forked_from, c.forked_from_run, c.forked_from_seq`;

export function toConversation(row: ConversationRow): Conversation {
  return {
    id: idOf("conv", row.id),
    agentId: idOf("agent", row.agent_id),
    visitorId: row.visitor_id === null ? null : idOf("visitor", row.visitor_id),
    mode: row.mode,
    lastSeq: Number(row.last_seq),
    createdAt: row.created_at.toISOString(),
    ...forkedFrom(row),
  };
}

/** A visitor's conversation is never a fork, so only staff are told. */
function forkedFrom(row: ConversationRow): Pick<Conversation, "forkedFrom"> {
  if (!row.forked_from || !row.forked_from_run) return {};
  return {
    forkedFrom: {
      runId: idOf("run", row.forked_from_run),
      conversationId: idOf("conv", row.forked_from),
      seq: Number(row.forked_from_seq),
    },
  };
}
