/** Closes a copied log that stops in the middle of things. Pure. */
import { closeBrackets, noBrackets, trackBrackets, type OpenBrackets } from "@agent-engine/protocol/brackets.ts";
import { defaultAudience, type Audience, type Envelope } from "@agent-engine/protocol/envelope.ts";
import { custom, METADATA_KEY, type ConversationEvent } from "@agent-engine/protocol/events.ts";
import { reduce } from "@agent-engine/protocol/reduce.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { stepIndexOf } from "./step-name.ts";

export interface ForkedEvent {
  event: ConversationEvent;
  audience: Audience;
  runId: string | null;
}

/** Closes what other runs, and people between them, had open at the event. */
export function closedOthers(
  events: readonly ForkedEvent[],
  { conversationId, runId, newId }: { conversationId: string; runId: string; newId: () => string },
): ForkedEvent[] {
  const open = new Map<string, { brackets: OpenBrackets; isRunning: boolean }>();
  const unsaid = new Map<string, Audience>();
  for (const { event, runId: of, audience } of events) {
    if (of === null) {
      if (event.type === "TEXT_MESSAGE_START") unsaid.set(event.messageId, audience);
      else if (event.type === "TEXT_MESSAGE_END") unsaid.delete(event.messageId);
      continue;
    }
    if (of === runId) continue;
    const brackets = trackBrackets(open.get(of)?.brackets ?? noBrackets, event);
    const isRunning = event.type === "RUN_STARTED" || (open.get(of)?.isRunning ?? false);
    const isParked = event.type === "RUN_FINISHED" && event.outcome.type === "interrupt";
    const isOver = event.type === "RUN_ERROR" || (event.type === "RUN_FINISHED" && !isParked);
    if (isOver) open.delete(of);
    else open.set(of, { brackets, isRunning: isRunning && !isParked });
  }
  const closing = [...unsaid].map(([messageId, audience]): ForkedEvent => ({
    event: { type: "TEXT_MESSAGE_END", messageId, metadata: { [METADATA_KEY]: { incomplete: true } } },
    audience,
    runId: null,
  }));
  for (const [of, { brackets, isRunning }] of open) {
    const run = { threadId: conversationId, runId: of };
    const answer = { content: CUT_OFF, newMessageId: newId };
    closing.push(
      ...ofRun(of, [
        ...(isRunning ? [] : [{ type: "RUN_STARTED" as const, ...run }]),
        ...closeBrackets(brackets, { answer }),
        { type: "RUN_FINISHED", ...run, outcome: { type: "cancelled" }, result: { finishReason: "cancelled" } },
      ]),
    );
  }
  return closing;
}

const CUT_OFF = "This call had no result yet at the event from which the conversation was forked.";

/** Closes the forked run's brackets, and takes back what belongs to no recorded step. */
export function closedRun(
  events: readonly ForkedEvent[],
  { conversationId, runId, lastStep }: { conversationId: string; runId: string; lastStep: number },
): ForkedEvent[] {
  const own = events.filter((entry) => entry.runId === runId);
  const brackets = own.reduce((open, { event }) => trackBrackets(open, event), noBrackets);
  const { messages, toolCalls, runs } = foldOf(events, conversationId);
  const isUnrecorded = (item: { runId: string | null; stepName: string | null }) =>
    item.runId === runId && stepIndexOf(item.stepName) > lastStep;
  const messageIds = messages.filter((it) => it.role === "assistant" && isUnrecorded(it)).map(({ id }) => id);
  const toolCallIds = toolCalls.filter(isUnrecorded).map(({ id }) => id);
  const run = runs[runId];
  const isRetrying = run?.status === "running" && run.retry !== null;
  const isTakenBack = messageIds.length + toolCallIds.length > 0 || isRetrying;
  return ofRun(runId, [
    ...closeBrackets(brackets),
    ...(isTakenBack ? [custom("run.superseded", { messageIds, toolCallIds })] : []),
  ]);
}

function ofRun(runId: string, events: readonly ConversationEvent[]): ForkedEvent[] {
  return events.map((event) => ({ event, audience: defaultAudience(event), runId }));
}

export function foldOf(events: readonly ForkedEvent[], conversationId: string): ConversationState {
  return reduce(
    initialState,
    events.map(({ event, runId }, index): Envelope => ({
      seq: index + 1,
      conversationId,
      runId,
      at: "",
      correlationId: "",
      event,
    })),
  );
}
