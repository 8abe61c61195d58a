import type { ConversationEvent, Interrupt } from "@agent-engine/protocol/events.ts";

type Kind = "msg" | "call" | "run" | "int" | "conv";

/** The ids of a copy: each old one always becomes the same new one. */
export interface ForkIds {
  of(kind: Kind, old: string): string;
}

export function createForkIds(newId: (kind: Kind) => string): ForkIds {
  const known = new Map<string, string>();
  return {
    of(kind, old) {
      const made = known.get(old) ?? newId(kind);
      known.set(old, made);
      return made;
    },
  };
}

/**
 * The event as it stands in a copy of its log: the ids of what the log holds are the copy's own. What only refers
 * elsewhere, such as a document or a connection, stays. An event that is newer than this code is copied as it is.
 */
export function withForkIds(event: ConversationEvent, ids: ForkIds): ConversationEvent {
  switch (event.type) {
    case "RUN_STARTED":
      return { ...event, threadId: ids.of("conv", event.threadId), runId: ids.of("run", event.runId) };
    case "RUN_FINISHED": {
      const own = { ...event, threadId: ids.of("conv", event.threadId), runId: ids.of("run", event.runId) };
      if (own.outcome.type !== "interrupt") return own;
      const interrupts = own.outcome.interrupts.map((interrupt) => interruptWithForkIds(interrupt, ids));
      return { ...own, outcome: { ...own.outcome, interrupts } };
    }
    case "TEXT_MESSAGE_START":
    case "TEXT_MESSAGE_CONTENT":
    case "TEXT_MESSAGE_END":
    case "REASONING_START":
    case "REASONING_MESSAGE_START":
    case "REASONING_MESSAGE_CONTENT":
    case "REASONING_MESSAGE_END":
    case "REASONING_END":
      return { ...event, messageId: ids.of("msg", event.messageId) };
    case "TOOL_CALL_START": {
      const { parentMessageId } = event;
      const own = { ...event, toolCallId: ids.of("call", event.toolCallId) };
      return parentMessageId === undefined ? own : { ...own, parentMessageId: ids.of("msg", parentMessageId) };
    }
    case "TOOL_CALL_ARGS":
    case "TOOL_CALL_END":
      return { ...event, toolCallId: ids.of("call", event.toolCallId) };
    case "TOOL_CALL_RESULT":
      return { ...event, messageId: ids.of("msg", event.messageId), toolCallId: ids.of("call", event.toolCallId) };
    case "CUSTOM":
      return factWithForkIds(event, ids);
    case "RUN_ERROR":
    case "STEP_STARTED":
    case "STEP_FINISHED":
      return event;
    default:
      return event;
  }
}

function factWithForkIds(event: Extract<ConversationEvent, { type: "CUSTOM" }>, ids: ForkIds): ConversationEvent {
  switch (event.name) {
    case "citation":
      return { ...event, value: { ...event.value, messageId: ids.of("msg", event.value.messageId) } };
    case "run.superseded":
      return {
        ...event,
        value: {
          messageIds: event.value.messageIds.map((id) => ids.of("msg", id)),
          toolCallIds: event.value.toolCallIds.map((id) => ids.of("call", id)),
        },
      };
    case "run.resumed":
      return { ...event, value: { ...event.value, interruptId: ids.of("int", event.value.interruptId) } };
    default:
      return event;
  }
}

function interruptWithForkIds(interrupt: Interrupt, ids: ForkIds): Interrupt {
  const own = { ...interrupt, id: ids.of("int", interrupt.id) };
  return own.toolCallId === undefined ? own : { ...own, toolCallId: ids.of("call", own.toolCallId) };
}
