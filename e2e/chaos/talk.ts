/** A visitor in a conversation of their own, followed by the client that the widget uses, over real sockets. */
import type { Submission } from "@agent-engine/protocol/resources.ts";
import type { ConversationState, MessageState } from "@agent-engine/protocol/state.ts";
import { createConversationClient, type ConversationClient } from "@agent-engine/sdk/conversation-client.ts";
import { memoryKeyValue } from "@agent-engine/sdk/key-value.ts";
import type { Acknowledged } from "@agent-engine/testing/invariants.ts";
import { waitFor } from "@agent-engine/testing/wait-for.ts";
import { io } from "socket.io-client";
import { createConversation, openVisitor, send, type Api } from "../src/api-client.ts";
import { SITE_ORIGIN, type TenantKeys } from "../src/shop-tenant.ts";

export interface TalkOptions {
  /** Where requests and the client go. Default: a server drawn by the trial, through its proxy. */
  url?: string;
  /** Default: the tenant that the experiments share. */
  keys?: TenantKeys;
  /** Where the client alone connects, for a proxy of its own. */
  clientUrl?: string;
  /** The client's requests have a connection each, as after a change of networks, when browsers drop those they kept. */
  hasFreshConnections?: boolean;
}

export interface Talk {
  conversationId: string;
  visitor: Api;
  client: ConversationClient;
  /** What the API acknowledged here. */
  acknowledged: Acknowledged[];
  state(): ConversationState;
  /** Sends over HTTP; resolves with the 202's body. */
  ask(text: string, clientMessageId?: string): Promise<Submission>;
  /** The same until it is taken, however often and long it is refused, as a client does that keeps what was written. */
  askUntilTaken(text: string, timeoutMs?: number): Promise<Submission>;
  /** The status of a run as the client sees it. */
  status(runId: string): string | undefined;
  /** What the assistant said in that run and still stands. */
  texts(runId?: string): string[];
  /**
   * Resolves with the client's state once the condition holds there, at the very change that made it so.
   * Rejects after `timeoutMs` (default 60,000), saying what was waited for.
   */
  when(what: string, holds: (state: ConversationState) => boolean, timeoutMs?: number): Promise<ConversationState>;
  /** The run has ended, as the client sees it; rejects when it ended in another way than `completed`. */
  completed(runId: string, timeoutMs?: number): Promise<void>;
  close(): void;
}

const TIMEOUT_MS = 60_000;
const ENDED = new Set(["completed", "cancelled", "failed"]);
let messages = 0;

/** `url` and `keys` are the defaults. */
export async function openTalk(url: string, keys: TenantKeys, options: TalkOptions = {}): Promise<Talk> {
  const visitor = await openVisitor(options.url ?? url, (options.keys ?? keys).publishableKey);
  const { id: conversationId } = await createConversation(visitor);
  const storage = memoryKeyValue();
  storage.set("conversation", conversationId);
  const token = async () => visitor.token;
  const client = createConversationClient({
    baseUrl: options.clientUrl ?? options.url ?? url,
    credentials: { token, renew: token },
    storage,
    ...(options.hasFreshConnections ? { fetch: fetchAfresh } : {}),
    loadSocket: async () => (base, socketOptions) =>
      io(base, { ...socketOptions, transports: ["websocket"], extraHeaders: { origin: SITE_ORIGIN } }),
  });
  const acknowledged: Acknowledged[] = [];
  const state = () => client.getState().conversation;
  const talk: Talk = {
    conversationId,
    visitor,
    client,
    acknowledged,
    state,
    async ask(text, clientMessageId = `message-${++messages}`) {
      const submission = await send(visitor, conversationId, clientMessageId, text);
      acknowledged.push({
        conversationId,
        clientMessageId,
        messageId: submission.message.id,
        runId: submission.run.id,
      });
      return submission;
    },
    askUntilTaken(text, timeoutMs = TIMEOUT_MS) {
      const clientMessageId = `message-${++messages}`;
      return waitFor(() => talk.ask(text, clientMessageId), {
        describe: "a message to be taken",
        intervalMs: 100,
        timeoutMs,
      });
    },
    status: (runId) => state().runs[runId]?.status,
    texts: (runId) => assistantMessages(state(), runId).map(({ text }) => text),
    when: (what, holds, timeoutMs = TIMEOUT_MS) => whenState(client, what, holds, timeoutMs),
    async completed(runId, timeoutMs) {
      const seen = await talk.when(
        `the end of ${runId}`,
        (now) => ENDED.has(now.runs[runId]?.status ?? "") || now.runs[runId]?.status === "waiting",
        timeoutMs,
      );
      const run = seen.runs[runId];
      if (run?.status !== "completed") throw new Error(`${runId} is ${JSON.stringify(run)}`);
    },
    close: () => client.close(),
  };
  await client.start();
  return talk;
}

const fetchAfresh = (url: string, init: RequestInit): Promise<Response> =>
  fetch(url, { ...init, headers: { ...(init.headers as Record<string, string>), connection: "close" } });

export function assistantMessages(state: ConversationState, runId?: string): MessageState[] {
  return state.messages.filter(
    (message) => message.role === "assistant" && (runId === undefined || message.runId === runId),
  );
}

function whenState(
  client: ConversationClient,
  what: string,
  holds: (state: ConversationState) => boolean,
  timeoutMs: number,
): Promise<ConversationState> {
  return new Promise((resolve, reject) => {
    let stop = (): void => {};
    const timer = setTimeout(() => {
      stop();
      const { connection, conversation } = client.getState();
      const seen = JSON.stringify({ connection, lastSeq: conversation.lastSeq, runs: conversation.runs });
      reject(new Error(`gave up after ${timeoutMs} ms waiting for ${what}; the client has ${seen}`));
    }, timeoutMs);
    const look = (): boolean => {
      const { conversation } = client.getState();
      if (!holds(conversation)) return false;
      clearTimeout(timer);
      stop();
      resolve(conversation);
      return true;
    };
    if (!look()) stop = client.subscribe(look);
  });
}
