/** Which brackets a run has open, and the events that close them: used by finish, cancel, interrupt and take-over. */
import { METADATA_KEY, type ConversationEvent } from "./events.ts";

export interface OpenBrackets {
  stepName: string | null;
  messageId: string | null;
  reasoningId: string | null;
  reasoningMessageOpen: boolean;
  /** Calls whose arguments still stream. */
  openCalls: readonly string[];
  /** Calls that were asked for and have no result. */
  unanswered: readonly string[];
}

export const noBrackets: OpenBrackets = {
  stepName: null,
  messageId: null,
  reasoningId: null,
  reasoningMessageOpen: false,
  openCalls: [],
  unanswered: [],
};

/** Follows one event of the run (the visitor's own message excluded). Pure. */
export function trackBrackets(open: OpenBrackets, event: ConversationEvent): OpenBrackets {
  switch (event.type) {
    case "STEP_STARTED":
      return { ...open, stepName: event.stepName };
    case "STEP_FINISHED":
      return { ...open, stepName: null };
    case "TEXT_MESSAGE_START":
      return event.role === "user" ? open : { ...open, messageId: event.messageId };
    case "TEXT_MESSAGE_END":
      return event.messageId === open.messageId ? { ...open, messageId: null } : open;
    case "REASONING_START":
      return { ...open, reasoningId: event.messageId };
    case "REASONING_MESSAGE_START":
      return { ...open, reasoningMessageOpen: true };
    case "REASONING_MESSAGE_END":
      return { ...open, reasoningMessageOpen: false };
    case "REASONING_END":
      return { ...open, reasoningId: null };
    case "TOOL_CALL_START":
      return {
        ...open,
        openCalls: [...open.openCalls, event.toolCallId],
        unanswered: [...open.unanswered, event.toolCallId],
      };
    case "TOOL_CALL_END":
      return { ...open, openCalls: open.openCalls.filter((id) => id !== event.toolCallId) };
    case "TOOL_CALL_RESULT":
      return { ...open, unanswered: open.unanswered.filter((id) => id !== event.toolCallId) };
    case "CUSTOM":
      return event.name === "run.superseded" ? withoutCalls(open, event.value.toolCallIds) : open;
    default:
      return open;
  }
}

/** Superseded calls are gone from the fold: an answer would be to nobody. */
function withoutCalls(open: OpenBrackets, gone: readonly string[]): OpenBrackets {
  return { ...open, unanswered: open.unanswered.filter((id) => !gone.includes(id)) };
}

export interface CloseOptions {
  /** When given, every unanswered call gets this as its synthetic result, so that the next model turn is valid. */
  answer?: { content: string; newMessageId: () => string };
}

/** The events that close everything open, innermost first. A text cut short is marked incomplete. */
export function closeBrackets(open: OpenBrackets, options: CloseOptions = {}): ConversationEvent[] {
  const events: ConversationEvent[] = [];
  if (open.reasoningId !== null) {
    if (open.reasoningMessageOpen) events.push({ type: "REASONING_MESSAGE_END", messageId: open.reasoningId });
    events.push({ type: "REASONING_END", messageId: open.reasoningId });
  }
  if (open.messageId !== null) {
    events.push({
      type: "TEXT_MESSAGE_END",
      messageId: open.messageId,
      metadata: { [METADATA_KEY]: { incomplete: true } },
    });
  }
  for (const toolCallId of open.openCalls) events.push({ type: "TOOL_CALL_END", toolCallId });
  if (options.answer) {
    for (const toolCallId of open.unanswered) {
      events.push({
        type: "TOOL_CALL_RESULT",
        messageId: options.answer.newMessageId(),
        toolCallId,
        content: options.answer.content,
        role: "tool",
      });
    }
  }
  if (open.stepName !== null) events.push({ type: "STEP_FINISHED", stepName: open.stepName });
  return events;
}
