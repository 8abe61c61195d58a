import { noBrackets, trackBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { statement } from "../db/statement.ts";
import type { Tx } from "../db/transaction.ts";
import { uuidOf } from "../ids.ts";

const eventsOfRun = statement<{ event: ConversationEvent }>(
  "events_of_run",
  `select e.event from events e
   where e.conversation_id = $1 and e.run_id = $2 and e.seq >= (select r.first_seq from runs r where r.id = $2)
   order by e.seq`,
);

export interface LoggedRun {
  brackets: OpenBrackets;
  /** Started, and neither ended nor parked since. */
  isRunning: boolean;
  /** What the assistant said and still stands, by message. */
  texts: Map<string, string>;
}

/** What the log says a run has written and left open, read inside the transaction that holds its conversation. */
export async function runAsLogged(tx: Tx, conversationId: string, runId: string): Promise<LoggedRun> {
  const rows = await tx.query(eventsOfRun, [uuidOf(conversationId), uuidOf(runId)]);
  let brackets = noBrackets;
  let isRunning = false;
  const texts = new Map<string, string>();
  for (const { event } of rows) {
    brackets = trackBrackets(brackets, event);
    if (event.type === "RUN_STARTED") isRunning = true;
    else if (event.type === "RUN_FINISHED" || event.type === "RUN_ERROR") isRunning = false;
    else if (event.type === "TEXT_MESSAGE_START" && event.role === "assistant") texts.set(event.messageId, "");
    else if (event.type === "TEXT_MESSAGE_CONTENT" && texts.has(event.messageId)) {
      texts.set(event.messageId, texts.get(event.messageId) + event.delta);
    } else if (event.type === "CUSTOM" && event.name === "run.superseded") {
      for (const id of event.value.messageIds) texts.delete(id);
    }
  }
  return { brackets, isRunning, texts };
}
