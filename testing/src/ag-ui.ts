import { verifyEvents } from "@ag-ui/client";
import { EventSchemas } from "@ag-ui/core/schemas";
import type { ConversationEvent } from "@agent-engine/protocol/events.ts";
import { from, lastValueFrom, toArray } from "rxjs";

/**
 * Rejects, in the words of AG-UI's own schemas and verifier, when a run's events are no stream that its clients accept. The edge's
 * part is played here: the visitor's own message is not repeated to them, and facts follow the run's next start.
 */
export async function verifyAgUi(events: readonly ConversationEvent[]): Promise<void> {
  const sent = asSent(events);
  for (const event of sent) EventSchemas.parse(event);
  await lastValueFrom(from(sent as never[]).pipe(verifyEvents(false), toArray()), { defaultValue: [] });
}

function asSent(events: readonly ConversationEvent[]): ConversationEvent[] {
  const ofVisitor = new Set<string>();
  const sent: ConversationEvent[] = [];
  const held: ConversationEvent[] = [];
  let isRunning = false;
  for (const event of events) {
    if (event.type === "TEXT_MESSAGE_START" && event.role === "user") ofVisitor.add(event.messageId);
    if ("messageId" in event && ofVisitor.has(event.messageId)) continue;
    if (event.type === "CUSTOM" && !isRunning) {
      held.push(event);
      continue;
    }
    sent.push(event);
    if (event.type === "RUN_STARTED") {
      isRunning = true;
      sent.push(...held.splice(0));
    } else if (event.type === "RUN_FINISHED") isRunning = false;
  }
  return sent;
}
