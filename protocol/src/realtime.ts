/** The Socket.IO contract: path `/realtime`, handshake `auth: { token }`. Commands go over HTTP, never here. */
import type { Envelope } from "./envelope.ts";
import type { ProblemCode, RealtimeErrorCode } from "./problems.ts";

export const REALTIME_PATH = "/realtime";

export interface Subscribe {
  conversationId?: string;
  runId?: string;
  /** The reader's cursor; events follow from `after + 1`. */
  after?: number;
}

export type SubscribeAck = { ok: true; lastSeq: number } | { ok: false; error: { code: ProblemCode; detail: string } };

export interface EventsPush {
  conversationId: string;
  /** Set when the subscription was for one run. */
  runId?: string;
  events: Envelope[];
}

/** Advice that is not part of the log: may be lost, never replayed. */
export interface Hint {
  conversationId: string;
  runId: string | null;
  name: "run.queued" | "typing";
  value: Record<string, unknown>;
}

/**
 * For staff: a conversation of the tenant changed as lists show it (who said what last, its run's status, who answers).
 * Advice: after the commit, but it may be lost; whoever shows a list reads it again when they connect.
 */
export interface ConversationChange {
  id: string;
  lastSeq: number;
}

export interface Typing {
  conversationId: string;
  isTyping: boolean;
}

/** `data` of a `connect_error`. */
export interface RealtimeRefusal {
  code: RealtimeErrorCode;
  retryable: boolean;
  detail: string;
}

export interface ClientToServer {
  subscribe(request: Subscribe, ack: (answer: SubscribeAck) => void): void;
  unsubscribe(request: { conversationId?: string; runId?: string }): void;
  typing(request: Typing): void;
}

export interface ServerToClient {
  events(push: EventsPush): void;
  hint(hint: Hint): void;
  "conversation.changed"(change: ConversationChange): void;
  closing(reason: RealtimeRefusal): void;
}
