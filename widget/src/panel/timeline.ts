/** What the panel lists, from top to bottom: a pure function of the client's state. */
import type { VNode } from "preact";
import type { MessageState, RunState } from "@agent-engine/protocol/state.ts";
import type { ClientState } from "@agent-engine/sdk/conversation-client.ts";
import { unsettled, type OutgoingMessage } from "@agent-engine/sdk/outbox.ts";
import { words } from "./words.ts";

export type TimelineItem =
  | { kind: "message"; key: string; message: MessageState }
  | { kind: "outgoing"; key: string; outgoing: OutgoingMessage }
  /** How a run ended, when that is worth a word. `retryText` is what to send to try again. */
  | { kind: "notice"; key: string; tone: "quiet" | "problem"; text: string; retryText: string | null }
  /** What a run asked of the visitor, at that place of the log (`cards/`). */
  | { kind: "card"; key: string; seq: number; isOpen: boolean; view: VNode };

export function timelineOf({ conversation, outbox }: ClientState): TimelineItem[] {
  const items: TimelineItem[] = [];
  const { messages, runs } = conversation;
  for (const [index, message] of messages.entries()) {
    // An answer that has begun and says nothing yet is shown as activity.
    if (message.text || message.role === "user") items.push({ kind: "message", key: message.id, message });
    const next = messages[index + 1];
    if (message.runId === null || next?.runId === message.runId) continue;
    const run = runs[message.runId];
    const notice = run && noticeOf(run, messages, next === undefined);
    if (notice) items.push(notice);
  }
  for (const outgoing of unsettled(outbox, conversation)) {
    items.push({ kind: "outgoing", key: outgoing.clientMessageId, outgoing });
  }
  return items;
}

function noticeOf(run: RunState, messages: readonly MessageState[], isLast: boolean): TimelineItem | null {
  const said = (role: MessageState["role"]) =>
    messages.find((message) => message.runId === run.id && message.role === role)?.text || null;
  const notice = (tone: "quiet" | "problem", text: string, retryText: string | null = null): TimelineItem => ({
    kind: "notice",
    key: `${run.id}:end`,
    tone,
    text,
    retryText,
  });
  switch (run.status) {
    case "failed":
      return notice("problem", run.error.message, isLast ? said("user") : null);
    case "cancelled":
      return notice("quiet", said("assistant") ? words.stopped : words.stoppedBefore);
    case "completed":
      return run.finishReason === "limit" ? notice("quiet", words.cutOff) : null;
    default:
      return null;
  }
}
