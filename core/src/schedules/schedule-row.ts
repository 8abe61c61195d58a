import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import { idOf } from "../ids.ts";

export interface ScheduleRow {
  id: string;
  agent_id: string;
  conversation_id: string | null;
  created_by: Schedule["createdBy"];
  input: string;
  due_at: Date;
  status: Schedule["status"];
  reason: string | null;
  run_id: string | null;
  created_at: Date;
}

export const SCHEDULE_COLUMNS =
  "s.id, s.agent_id, s.conversation_id, s.created_by, s.input, s.due_at, s.status, s.reason, s.run_id, s.created_at";

export function toSchedule(row: ScheduleRow): Schedule {
  return {
    id: idOf("schedule", row.id),
    agentId: idOf("agent", row.agent_id),
    conversationId: row.conversation_id === null ? null : idOf("conv", row.conversation_id),
    at: row.due_at.toISOString(),
    input: row.input,
    createdBy: row.created_by,
    status: row.status,
    reason: row.reason,
    runId: row.run_id === null ? null : idOf("run", row.run_id),
    createdAt: row.created_at.toISOString(),
  };
}
