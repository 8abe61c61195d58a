/** A visitor as the widget is one: a session, a Socket.IO connection, conversations, messages over HTTP. */
import { firstSeq, type Envelope } from "@agent-engine/protocol/envelope.ts";
import { isTerminal } from "@agent-engine/protocol/events.ts";
import { REALTIME_PATH, type ClientToServer, type ServerToClient } from "@agent-engine/protocol/realtime.ts";
import type { Conversation, Run, Submission, VisitorSession } from "@agent-engine/protocol/resources.ts";
import { preciseNowMs } from "@agent-engine/testing/stamps.ts";
import { io, type Socket } from "socket.io-client";
import { post } from "./http.ts";

export interface Answer {
  /** From sending the message to the first token's arrival, in milliseconds. */
  firstTokenMs: number;
  /** From sending the message to the arrival of the end, in milliseconds. */
  completionMs: number;
  text: string;
}

/** Told each piece of the answer as it arrives, with the time on the machine's clock (`preciseNowMs`). */
export type OnDelta = (delta: string, atMs: number) => void;

export interface Visitor {
  /** Creates a conversation and subscribes to it; `onEnvelope` is told everything that arrives, in order. */
  newConversation(onEnvelope?: (envelope: Envelope) => void): Promise<string>;
  /** Sends a message and waits for nothing but its acceptance. */
  send(conversationId: string, text: string): Promise<Submission>;
  cancel(runId: string): Promise<Run>;
  /** Sends a message and waits for the run's end. Rejects when anything is lost, repeated, retried or fails. */
  ask(conversationId: string, text: string, onDelta?: OnDelta): Promise<Answer>;
  close(): void;
}

export interface Endpoint {
  apiUrl: string;
  publishableKey: string;
  /** A page's origin that the site allows. */
  origin: string;
}

/** What reached all visitors since the start. */
export const delivered = { events: 0, pushes: 0 };

const ASK_TIMEOUT_MS = 60_000;

interface Following {
  lastSeq: number;
  assistant: Set<string>;
  asked: Asked | null;
  onEnvelope: ((envelope: Envelope) => void) | undefined;
}

interface Asked {
  sentMs: number;
  firstTokenMs: number;
  text: string;
  onDelta: OnDelta | undefined;
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

export async function openVisitor(endpoint: Endpoint): Promise<Visitor> {
  const { apiUrl, origin } = endpoint;
  const session = await post<VisitorSession>(
    `${apiUrl}/v1/visitor-sessions`,
    { publishableKey: endpoint.publishableKey },
    { origin },
  );
  const headers = { authorization: `Bearer ${session.visitorToken}`, origin };
  const socket: Socket<ServerToClient, ClientToServer> = io(apiUrl, {
    path: REALTIME_PATH,
    transports: ["websocket"],
    auth: { token: session.visitorToken },
    extraHeaders: { origin },
    forceNew: true,
    reconnection: false,
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  const following = new Map<string, Following>();
  socket.on("events", ({ conversationId, events }) => {
    delivered.pushes++;
    const conversation = following.get(conversationId);
    if (conversation) for (const envelope of events) receive(conversation, envelope);
  });
  socket.on("disconnect", (reason) => {
    for (const { asked } of following.values()) asked?.reject(new Error(`the socket closed: ${reason}`));
  });

  const send = (conversationId: string, text: string): Promise<Submission> =>
    post(
      `${apiUrl}/v1/conversations/${conversationId}/messages`,
      { clientMessageId: crypto.randomUUID(), text },
      headers,
    );

  return {
    send,
    cancel: (runId) => post<Run>(`${apiUrl}/v1/runs/${runId}/cancel`, {}, headers),
    newConversation: async (onEnvelope) => {
      const { id } = await post<Conversation>(`${apiUrl}/v1/conversations`, {}, headers);
      following.set(id, { lastSeq: 0, assistant: new Set(), asked: null, onEnvelope });
      const ack = await socket.timeout(ASK_TIMEOUT_MS).emitWithAck("subscribe", { conversationId: id, after: 0 });
      if (!ack.ok) throw new Error(`subscribe: ${ack.error.code} ${ack.error.detail}`);
      return id;
    },
    ask: (conversationId, text, onDelta) =>
      new Promise<Answer>((resolve, reject) => {
        const conversation = following.get(conversationId);
        if (!conversation) throw new Error("create the conversation first");
        const timer = setTimeout(
          () => reject(new Error(`no end after ${ASK_TIMEOUT_MS} ms at seq ${conversation.lastSeq}`)),
          ASK_TIMEOUT_MS,
        );
        const settle = (): void => {
          clearTimeout(timer);
          conversation.asked = null;
        };
        conversation.asked = {
          sentMs: performance.now(),
          firstTokenMs: Number.NaN,
          text: "",
          onDelta,
          resolve: (answer) => {
            settle();
            resolve(answer);
          },
          reject: (error) => {
            settle();
            reject(error);
          },
        };
        const fail = conversation.asked.reject;
        send(conversationId, text).catch((error: unknown) =>
          fail(error instanceof Error ? error : new Error(String(error))),
        );
      }),
    close: () => void socket.disconnect(),
  };
}

function receive(conversation: Following, envelope: Envelope): void {
  const { asked } = conversation;
  const first = firstSeq(envelope);
  if (first !== conversation.lastSeq + 1) {
    asked?.reject(new Error(`seq ${first} after ${conversation.lastSeq}`));
    return;
  }
  delivered.events += envelope.seq - first + 1;
  conversation.lastSeq = envelope.seq;
  conversation.onEnvelope?.(envelope);
  const { event } = envelope;
  if (event.type === "TEXT_MESSAGE_START" && event.role === "assistant") conversation.assistant.add(event.messageId);
  if (!asked) return;
  if (event.type === "TEXT_MESSAGE_CONTENT" && conversation.assistant.has(event.messageId)) {
    if (asked.text === "") asked.firstTokenMs = performance.now() - asked.sentMs;
    asked.text += event.delta;
    asked.onDelta?.(event.delta, preciseNowMs());
  } else if (event.type === "RUN_FINISHED" && event.outcome.type === "success") {
    const completionMs = performance.now() - asked.sentMs;
    asked.resolve({ firstTokenMs: asked.firstTokenMs, completionMs, text: asked.text });
  } else if (event.type === "RUN_FINISHED" || isTerminal(event)) {
    asked.reject(new Error(`the run ended with ${JSON.stringify(event)}`));
  } else if (event.type === "CUSTOM" && (event.name === "run.retrying" || event.name === "run.superseded")) {
    asked.reject(new Error(`the run was disturbed: ${event.name}`));
  }
}
