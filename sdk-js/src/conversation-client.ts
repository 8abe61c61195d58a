/**
 * One conversation as a store: `getState()` is the fold of its log plus what is on its way there. Pushes are applied only
 * when they follow the cursor; anything else is fetched. Commands go over HTTP and are safe to repeat.
 */
import { deliver } from "@agent-engine/protocol/deliver.ts";
import type { Envelope } from "@agent-engine/protocol/envelope.ts";
import type { Hint } from "@agent-engine/protocol/realtime.ts";
import type { Conversation, EventPage, SentMessage } from "@agent-engine/protocol/resources.ts";
import { initialState, type ConversationState } from "@agent-engine/protocol/state.ts";
import { backoffMs, delay, retrying } from "./backoff.ts";
import { createConnection } from "./connection.ts";
import type { ConnectionState } from "./connection-state.ts";
import { currentRun } from "./current-run.ts";
import { requestAs, type Credentials, type HttpOptions, type RequestOptions } from "./http.ts";
import type { KeyValue } from "./key-value.ts";
import { unsettled, type OutgoingMessage } from "./outbox.ts";
import { AgentEngineError } from "./problem.ts";
import type { SocketFactory } from "./socket.ts";
import { randomId } from "./random-id.ts";

const PAGE = 100;
const ATTEMPTS = 5;
/** A push may name events that a replica does not serve yet. */
const LAG_MS = 100;

export interface ConversationClientOptions extends HttpOptions {
  credentials: Credentials;
  /** Keeps the conversation's id and unsent messages. */
  storage: KeyValue;
  loadSocket(): Promise<SocketFactory>;
  /** What arrives of the log, for what the fold forgets; may repeat, and be ahead of the state. */
  onEvents?(envelopes: readonly Envelope[]): void;
  random?: () => number;
  newId?: () => string;
}

export interface ClientState {
  conversationId: string | null;
  /** The fold of the log as far as it is known. */
  conversation: ConversationState;
  /** False while the history of a resumed conversation is being fetched for the first time. */
  isLoaded: boolean;
  /** What the log does not show yet, in the order of writing. */
  outbox: readonly OutgoingMessage[];
  connection: ConnectionState;
  /** The newest advice on a queued run; finer than the log, and lost on reload. */
  hint: Hint | null;
  /** Why reading fails, when waiting will not mend it. */
  error: AgentEngineError | null;
}

export interface ConversationClient {
  getState(): ClientState;
  /** Calls after every change; answers how to stop. */
  subscribe(listener: () => void): () => void;
  /** Connects, resumes the stored conversation from its log, and sends what was left unsent. */
  start(): Promise<void>;
  /** Shows the message at once and sends it until it is stored; answers its clientMessageId. */
  send(text: string): string;
  /** Sends again what could not be sent. */
  retry(clientMessageId: string): void;
  discard(clientMessageId: string): void;
  /** Stops the run that is going on; without one does nothing. */
  cancel(): Promise<void>;
  /** Leaves the conversation: the next message begins another. */
  reset(): void;
  /** The network came back or the page became visible: what waits to be tried again is tried now. */
  wake(): void;
  /** Another tab changed which conversation is stored: go on with that one. */
  rejoin(): void;
  close(): void;
}

export function createConversationClient(options: ConversationClientOptions): ConversationClient {
  const { storage, random = Math.random, newId = randomId } = options;
  const listeners = new Set<() => void>();
  let state: ClientState = {
    conversationId: storage.get("conversation"),
    conversation: initialState,
    isLoaded: false,
    outbox: JSON.parse(storage.get("outbox") ?? "[]"),
    connection: { status: "idle" },
    hint: null,
    error: null,
  };
  /** The highest seq anybody told us of. */
  let known = 0;
  let catching: Promise<boolean> | null = null;
  let isSending = false;
  let wakeSender: (() => void) | undefined;

  function set(patch: Partial<ClientState>): void {
    state = { ...state, ...patch };
    for (const listener of listeners) listener();
  }

  function setOutbox(outbox: readonly OutgoingMessage[]): void {
    // Kept until the answer carries its id, though the log may show its text already.
    const open = unsettled(outbox, state.conversation);
    set({ outbox: outbox.filter((outgoing) => !outgoing.messageId || open.includes(outgoing)) });
    storage.set("outbox", JSON.stringify(state.outbox));
  }

  const patchOutgoing = (clientMessageId: string, patch: Partial<OutgoingMessage>) =>
    setOutbox(
      state.outbox.map((outgoing) =>
        outgoing.clientMessageId === clientMessageId ? { ...outgoing, ...patch } : outgoing,
      ),
    );

  const pause = (ms: number) =>
    new Promise<void>((resolve) => {
      wakeSender = resolve;
      setTimeout(resolve, ms);
    });

  const call = <T>(path: string, request?: RequestOptions) =>
    retrying(ATTEMPTS, random, () => requestAs<T>(options, `/v1/${path}`, request), pause);

  function receive(conversationId: string, envelopes: readonly Envelope[]): void {
    if (conversationId !== state.conversationId) return;
    options.onEvents?.(envelopes);
    for (const { seq } of envelopes) known = Math.max(known, seq);
    const { state: conversation, gap } = deliver(state.conversation, envelopes);
    if (conversation !== state.conversation) {
      set({ conversation });
      if (state.outbox[0]) setOutbox(state.outbox);
    }
    if (gap) refresh();
  }

  function enter(conversationId: string | null): void {
    known = 0;
    storage.set("conversation", conversationId);
    set({ conversationId, conversation: initialState, isLoaded: true, hint: null, error: null });
    connection.follow();
  }

  const refresh = () => void catchUp().catch(() => {});

  function catchUp(): Promise<boolean> {
    return (catching ??= fetchMissing().finally(() => {
      catching = null;
    }));
  }

  /** Fetches until nothing is missing. Rejects when the server cannot be reached; other problems end in `state.error`. */
  async function fetchMissing(): Promise<boolean> {
    const from = state.conversation.lastSeq;
    let lag = 0;
    while (lag < ATTEMPTS) {
      const id = state.conversationId;
      const after = state.conversation.lastSeq;
      if (!id) break;
      try {
        const page = await requestAs<EventPage>(options, `/v1/conversations/${id}/events?after=${after}&limit=${PAGE}`);
        receive(id, page.items);
        if (id === state.conversationId && !page.nextCursor && state.conversation.lastSeq >= known) break;
        if (state.conversation.lastSeq > after) lag = 0;
        else await delay(LAG_MS * ++lag);
      } catch (error) {
        if (!(error instanceof AgentEngineError) || error.isTransient) throw error;
        if (id !== state.conversationId) continue;
        if (error.code === "cursor_compacted" && after) set({ conversation: initialState });
        else if (error.code === "not_found") enter(null);
        else {
          set({ error });
          break;
        }
      }
    }
    set({ isLoaded: true });
    return state.conversation.lastSeq > from;
  }

  const connection = createConnection({
    ...options,
    random,
    topic: () =>
      state.conversationId ? { conversationId: state.conversationId, after: state.conversation.lastSeq } : null,
    openStream: (signal) =>
      state.conversationId
        ? requestAs(
            options,
            `/v1/conversations/${state.conversationId}/stream`,
            { headers: { "last-event-id": `${state.conversation.lastSeq}` }, signal },
            (response) => response,
          )
        : null,
    catchUp,
    pause: (ms, failures) => delay(ms + backoffMs(failures, random)),
    onEvents: receive,
    onHint: (hint) => hint.runId && hint.conversationId === state.conversationId && set({ hint }),
    onState: (connection) => set({ connection }),
  });

  /** Sends the outbox in order, one at a time: the order of the log is the order of writing. */
  async function flush(): Promise<void> {
    if (isSending) return;
    isSending = true;
    for (let next; (next = state.outbox.find((outgoing) => !outgoing.messageId && !outgoing.error));) {
      const { clientMessageId, text } = next;
      try {
        if (!state.conversationId) {
          const headers = { "idempotency-key": clientMessageId };
          const { id } = await call<Conversation>("conversations", { body: {}, headers });
          enter(id);
        }
        const body = { clientMessageId, text };
        const { message } = await call<SentMessage>(`conversations/${state.conversationId}/messages`, { body });
        patchOutgoing(clientMessageId, { messageId: message.id });
        if (state.connection.status !== "live") refresh();
      } catch (error) {
        const { code, message } = error as AgentEngineError;
        patchOutgoing(clientMessageId, { error: { code, message } });
        refresh();
      }
    }
    isSending = false;
  }

  function retry(clientMessageId: string): void {
    patchOutgoing(clientMessageId, { error: undefined });
    void flush();
  }

  return {
    getState: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    async start() {
      set({ error: null });
      connection.open();
      void flush();
      await retrying(ATTEMPTS, random, catchUp);
    },
    send(text) {
      const clientMessageId = newId();
      setOutbox([...state.outbox, { clientMessageId, text, after: state.conversation.lastSeq }]);
      void flush();
      return clientMessageId;
    },
    retry,
    discard: (clientMessageId) =>
      setOutbox(state.outbox.filter((outgoing) => outgoing.clientMessageId !== clientMessageId)),
    async cancel() {
      const run = currentRun(state.conversation);
      if (run) await call(`runs/${run.id}/cancel`, { method: "POST" });
    },
    reset() {
      setOutbox([]);
      enter(null);
    },
    wake() {
      wakeSender?.();
      connection.wake();
    },
    rejoin() {
      // A message of ours may be on its way to where we are.
      if (!isSending) enter(storage.get("conversation"));
    },
    close: connection.close,
  };
}
