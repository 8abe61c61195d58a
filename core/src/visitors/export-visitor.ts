import type { Conversation, Run } from "@agent-engine/protocol/resources.ts";
import type { StoredEnvelope } from "@agent-engine/protocol/envelope.ts";
import type { Schedule } from "@agent-engine/protocol/schedules.ts";
import type { VisitorProfile } from "@agent-engine/protocol/visitors.ts";
import type { Ctx } from "../context.ts";
import { CONVERSATION_COLUMNS, toConversation, type ConversationRow } from "../conversations/conversation-row.ts";
import { statement } from "../db/statement.ts";
import { inTenant } from "../db/transaction.ts";
import { readAllEvents } from "../events/read-events.ts";
import { uuidOf } from "../ids.ts";
import { RUN_COLUMNS, toRun, type RunRow } from "../runs/run-row.ts";
import { SCHEDULE_COLUMNS, toSchedule, type ScheduleRow } from "../schedules/schedule-row.ts";
import { findVisitorProfile } from "./visitor-profile.ts";

/** A part of an export, in the order in which it is read. What follows a conversation is that conversation's. */
export type ExportPart =
  | { part: "visitor"; value: VisitorProfile }
  | { part: "conversation"; value: Conversation & { schedules: Schedule[] } }
  | { part: "run"; value: Run & { toolInvocations: ExportedInvocation[] } }
  | { part: "event"; value: StoredEnvelope };

interface ExportedInvocation {
  tool: string;
  toolCallId: string;
  status: string;
  arguments: unknown;
  outcome: unknown;
  /** Attempts that failed, and what the other side said; null when none did. */
  tried: unknown;
  recordedAt: string;
}

// Copies of theirs that staff made are theirs too.
const conversations = statement<ConversationRow>(
  "export_conversations",
  `with recursive theirs (id) as (
     select c.id from conversations c where c.visitor_id = $1
     union all
     select f.id from theirs t join conversations f on f.forked_from = t.id
   )
   select ${CONVERSATION_COLUMNS} from theirs t join conversations c on c.id = t.id
   join conversation_heads h on h.conversation_id = c.id
   where c.id > $2 order by c.id limit $3`,
);

const schedules = statement<ScheduleRow>(
  "export_schedules",
  `select ${SCHEDULE_COLUMNS} from schedules s where s.conversation_id = $1 order by s.id`,
);

const runs = statement<RunRow & { tool_invocations: ExportedInvocation[] | null }>(
  "export_runs",
  `select ${RUN_COLUMNS}, (
     select json_agg(json_build_object('tool', i.tool, 'toolCallId', i.tool_call_id, 'status', i.status, 'arguments', i.arguments,
       'outcome', i.outcome, 'tried', i.tried, 'recordedAt', i.recorded_at) order by i.step_index, i.call_index)
     from tool_invocations i where i.run_id = r.id) as tool_invocations
   from runs r where r.conversation_id = $1 and r.id > $2 order by r.id limit $3`,
);

const PAGE = 20;
const FIRST = "00000000-0000-0000-0000-000000000000";

/**
 * Everything that is kept about a person: who they are, their conversations with every event as it is stored, what was
 * done for them and with which result. A page at a time, so neither memory nor a transaction holds the whole.
 */
export async function* exportVisitor(ctx: Ctx, id: string): AsyncGenerator<ExportPart> {
  const read = <T>(fn: Parameters<typeof inTenant<T>>[2]) => inTenant(ctx.services.db, ctx.tenantId, fn);
  const visitor = await read((tx) => findVisitorProfile(tx, id));
  yield { part: "visitor", value: visitor };
  for (let after = FIRST; ;) {
    const page = await read((tx) => tx.query(conversations, [uuidOf(visitor.id), after, PAGE]));
    for (const row of page) {
      const conversation = toConversation(row);
      const planned = await read((tx) => tx.query(schedules, [row.id]));
      yield { part: "conversation", value: { ...conversation, schedules: planned.map(toSchedule) } };
      for (let afterRun = FIRST; ;) {
        const some = await read((tx) => tx.query(runs, [row.id, afterRun, PAGE]));
        for (const { tool_invocations: toolInvocations, ...run } of some) {
          yield { part: "run", value: { ...toRun(run), toolInvocations: toolInvocations ?? [] } };
        }
        afterRun = some.at(-1)?.id ?? FIRST;
        if (some.length < PAGE) break;
      }
      for await (const events of readAllEvents(ctx, { conversationId: conversation.id, after: 0 })) {
        for (const value of events) yield { part: "event", value };
      }
    }
    after = page.at(-1)?.id ?? FIRST;
    if (page.length < PAGE) return;
  }
}
