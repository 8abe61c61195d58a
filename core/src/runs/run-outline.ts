import { noBrackets, trackBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

// What carries text is left out, or cut to its id: it may be what nobody has the memory for.
const outlineOfRun = statement<{ event: ConversationEvent }>(
  "outline_of_run",
  `select case e.event->>'type'
     when 'TOOL_CALL_RESULT' then json_build_object('type', 'TOOL_CALL_RESULT', 'toolCallId', e.event->>'toolCallId')
     else e.event end as event
   from events e
   where e.conversation_id = $1 and e.run_id = $2 and e.seq >= (select r.first_seq from runs r where r.id = $2)
     and e.event->>'type' not in ('TEXT_MESSAGE_CONTENT', 'TOOL_CALL_ARGS', 'REASONING_MESSAGE_CONTENT')
     and (e.event->>'type' <> 'CUSTOM' or e.event->>'name' = 'run.superseded')
   order by e.seq`,
);

const lastRecorded = statement<{ last: number | null }>(
  "last_recorded_step",
  "select max(step_index) as last from steps where run_id = $1",
);

const textsOfMessages = statement<{ id: string; text: string }>(
  "texts_of_messages",
  `select e.event->>'messageId' as id, string_agg(e.event->>'delta', '' order by e.seq) as text from events e
   where e.conversation_id = $1 and e.run_id = $2 and e.event->>'type' = 'TEXT_MESSAGE_CONTENT'
     and e.event->>'messageId' = any ($3::text[]) group by 1`,
);

/** A run by its log and its steps, without what was said. */
export interface RunOutline {
  brackets: OpenBrackets;
  /** Started, and neither ended nor parked since. */
  isRunning: boolean;
  /** Assistant messages and tool calls of recorded steps, which stand, and of a turn that nobody recorded. */
  standing: { messageIds: string[] };
  unrecorded: { messageIds: string[]; toolCallIds: string[] };
}

export async function readOutline(tx: Tx, conversationId: string, runId: string): Promise<RunOutline> {
  const [recorded] = await tx.query(lastRecorded, [uuidOf(runId)]);
  const rows = await tx.query(outlineOfRun, [uuidOf(conversationId), uuidOf(runId)]);
  const messages = new Map<string, boolean>();
  const calls = new Map<string, boolean>();
  let brackets = noBrackets;
  let isRunning = false;
  for (const { event } of rows) {
    brackets = trackBrackets(brackets, event);
    const isRecorded = stepIndex(brackets.stepName) <= (recorded?.last ?? -1);
    if (event.type === "RUN_STARTED") isRunning = true;
    else if (event.type === "RUN_FINISHED" || event.type === "RUN_ERROR") isRunning = false;
    else if (event.type === "TEXT_MESSAGE_START" && event.role === "assistant")
      messages.set(event.messageId, isRecorded);
    else if (event.type === "TOOL_CALL_START") calls.set(event.toolCallId, isRecorded);
    else if (event.type === "CUSTOM" && event.name === "run.superseded") {
      for (const id of event.value.messageIds) messages.delete(id);
      for (const id of event.value.toolCallIds) calls.delete(id);
    }
  }
  const idsOf = (found: ReadonlyMap<string, boolean>, wanted: boolean) =>
    [...found].filter(([, isRecorded]) => isRecorded === wanted).map(([id]) => id);
  return {
    brackets,
    isRunning,
    standing: { messageIds: idsOf(messages, true) },
    unrecorded: { messageIds: idsOf(messages, false), toolCallIds: idsOf(calls, false) },
  };
}

/** What these messages say, by id. */
export async function readTexts(
  tx: Tx,
  input: { conversationId: string; runId: string; messageIds: readonly string[] },
): Promise<Map<string, string>> {
  if (input.messageIds.length === 0) return new Map();
  const values = [uuidOf(input.conversationId), uuidOf(input.runId), input.messageIds];
  return new Map((await tx.query(textsOfMessages, values)).map(({ id, text }) => [id, text]));
}

/** `step-3` → 3; -1 for what stands outside a step. */
function stepIndex(stepName: string | null): number {
  return stepName === null ? -1 : Number(stepName.slice("step-".length));
}
