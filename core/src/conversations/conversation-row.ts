import type { Conversation } from "@agent-engine/protocol/resources.ts";
import { idOf } from "../ids.ts";

export interface ConversationRow {
  id: string;
  agent_id: string;
  visitor_id: string | null;
  mode: "agent" | "operator";
  last_seq: string;
  created_at: Date;
}

export const CONVERSATION_COLUMNS = "c.id, c.agent_id, c.visitor_id, c.mode, h.last_seq, c.created_at";

export function toConversation(row: ConversationRow): Conversation {
  return {
    id: idOf("conv", row.id),
    agentId: idOf("agent", row.agent_id),
    visitorId: row.visitor_id === null ? null : idOf("visitor", row.visitor_id),
    mode: row.mode,
    lastSeq: Number(row.last_seq),
    createdAt: row.created_at.toISOString(),
  };
}
