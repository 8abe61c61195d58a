/** Messages on their way to the log. Pure; persisted, so that a reload between the click and the answer loses nothing. */
import type { ConversationState } from "@agent-engine/protocol/state.ts";
import type { ErrorCode } from "./problem.ts";

export interface OutgoingMessage {
  /** Makes sending again safe: the server answers the same message for the same id. */
  clientMessageId: string;
  /** The server's id, once it answered. */
  messageId?: string;
  text: string;
  /** The cursor when it was written: the log's copy of it comes later. */
  after: number;
  /** Set when sending was given up. */
  error?: { code: ErrorCode; message: string } | undefined;
}

/**
 * The outgoing messages that the log does not show yet. An event may overtake the answer that carries the message's id:
 * until then the log's copy is recognised by its text, each entry of the log standing for one message.
 */
export function unsettled(
  outbox: readonly OutgoingMessage[],
  conversation: ConversationState,
): readonly OutgoingMessage[] {
  const claimed = new Set<string>();
  return outbox.filter((outgoing) => {
    const twin = conversation.messages.find(({ id, role, seq, text }) =>
      outgoing.messageId
        ? id === outgoing.messageId
        : role === "user" && seq > outgoing.after && text === outgoing.text && !claimed.has(id),
    );
    if (twin) claimed.add(twin.id);
    return !twin;
  });
}
